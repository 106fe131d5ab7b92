//! The line to Redis: one connection, made when needed, thrown away at the first doubt.
//!
//! A client that reconnects behind one's back hides two things that matter here: that a reply was
//! lost (the outcome is unknown), and that a connection is black-holed (every command times out,
//! for ever). So a [`Link`] holds at most one plain connection, drops it on any failure but a
//! harmless answer, and makes a new one for the next command. It never repeats a command.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind, TlsCertificates,
};
use secrecy::{ExposeSecret, SecretString};

/// Longest wait for a TCP and TLS handshake; a Redis that is up answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where Redis is and who we are to it.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// `redis[s]://` address; its user and password, if any, are the first credentials.
    pub url: url::Url,
    /// ACL user.
    pub username: Option<String>,
    /// Tried in this order, for rotation without downtime; empty connects without a password.
    pub passwords: Vec<SecretString>,
    /// Own certificate authority, in PEM.
    pub ca_cert: Option<PathBuf>,
    /// Client certificate and key, in PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Shown by `CLIENT LIST`.
    pub client_name: String,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// Why Redis could not do something: a closed set, used as metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No connection, or it broke.
    Unreachable,
    /// Connected, but no answer in time.
    Timeout,
    /// The password or user was refused, or one is needed.
    Auth,
    /// The ACL user may not do this.
    NoPermission,
    /// Redis is reading its data set from disk.
    Loading,
    /// A replica, or a primary that has lost its majority.
    ReadOnly,
    /// A replica whose primary is away.
    MasterDown,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// A key is not a list.
    WrongType,
    /// Somebody's script has been running for seconds.
    Busy,
    /// Redis cannot persist and refuses writes.
    Misconfigured,
    /// Fewer replicas are connected than Redis demands for a write.
    NoReplicas,
    /// The script is not known; it is sent again by itself.
    NoScript,
    /// A transaction was refused as a whole.
    NotRun,
    /// The server is too old for what we need.
    Unsupported,
    /// The server is a cluster node.
    Cluster,
    /// Anything else.
    Other,
}

impl Reason {
    /// Every reason, for closed metric label sets.
    pub const ALL: [Self; 17] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Auth,
        Self::NoPermission,
        Self::Loading,
        Self::ReadOnly,
        Self::MasterDown,
        Self::OutOfMemory,
        Self::WrongType,
        Self::Busy,
        Self::Misconfigured,
        Self::NoReplicas,
        Self::NoScript,
        Self::NotRun,
        Self::Unsupported,
        Self::Cluster,
        Self::Other,
    ];

    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::NoPermission => "no_permission",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::MasterDown => "master_down",
            Self::OutOfMemory => "out_of_memory",
            Self::WrongType => "wrong_type",
            Self::Busy => "busy",
            Self::Misconfigured => "misconfigured",
            Self::NoReplicas => "no_replicas",
            Self::NoScript => "no_script",
            Self::NotRun => "not_run",
            Self::Unsupported => "unsupported",
            Self::Cluster => "cluster",
            Self::Other => "redis_error",
        }
    }

    /// What the operator is to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "check that Redis runs and that REDIS_HOST, REDIS_PORT (or REDIS_URL), TLS settings, certificates and network policy lead to it"
            }
            Self::Timeout => {
                "Redis or the network is stalled: look at SLOWLOG and LATENCY DOCTOR, lower REMEDIATION_BATCH_SIZE or raise REDIS_TIMEOUT"
            }
            Self::Auth => {
                "check REDIS_USERNAME and REDIS_PASSWORD; during a rotation set REDIS_PASSWORD_NEXT too"
            }
            Self::NoPermission => {
                "give the ACL user the commands and keys that docs/configuration.md lists"
            }
            Self::Loading => "wait: Redis is loading its data set",
            Self::ReadOnly => "point REDIS_HOST at the primary: this server does not take writes",
            Self::MasterDown => "this replica has lost its primary: finish the failover",
            Self::OutOfMemory => {
                "Redis is at maxmemory: free memory or raise it; nothing is moved until then"
            }
            Self::WrongType => "rename or delete the key, or set the queue's name to another one",
            Self::Busy => {
                "another client's script blocks Redis: SCRIPT KILL it, or wait until it ends"
            }
            Self::Misconfigured => {
                "Redis cannot write to its disk and refuses writes: look at its log"
            }
            Self::NoReplicas => {
                "fewer replicas are connected than min-replicas-to-write demands: bring them back"
            }
            Self::NoScript => "nothing: the script is loaded again by itself",
            Self::NotRun => "nothing: it is done again without a transaction by itself",
            Self::Unsupported => "use Redis 7.0 or later",
            Self::Cluster => "a Redis Cluster is not supported yet: use a single primary",
            Self::Other => "see the error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that failed. After a timeout or a broken connection its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The kind of failure.
    pub reason: Reason,
    /// What Redis or the operating system said.
    pub detail: String,
}

impl Error {
    /// A failure of our own finding.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { reason, detail }
    }

    fn timeout(what: &str, after: Duration) -> Self {
        let detail = format!("{what} took longer than {} s", after.as_secs_f32());
        Self::new(Reason::Timeout, detail)
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        // What a server says within a pipeline or a transaction counts like what it says alone.
        if let Some((_, first)) = error
            .clone()
            .into_server_errors()
            .as_deref()
            .and_then(|errors| errors.first())
        {
            let reason = match error.kind() {
                ErrorKind::Server(ServerErrorKind::ExecAbort) => Reason::NotRun,
                _ => server_reason(first.kind(), first.code()),
            };
            return Self::said(reason, first.code(), first.details());
        }
        let known = match error.kind() {
            _ if error.is_timeout() => return Self::new(Reason::Timeout, error.to_string()),
            ErrorKind::AuthenticationFailed => {
                return Self::new(Reason::Auth, error.to_string());
            }
            ErrorKind::Io => return Self::new(Reason::Unreachable, error.to_string()),
            ErrorKind::Server(kind) => Some(kind),
            _ => None,
        };
        match error.code() {
            Some(code) => Self::said(server_reason(known, code), code, error.detail()),
            None => Self::new(Reason::Other, error.to_string()),
        }
    }
}

impl Error {
    /// Whether the server said this, so that the connection is in order.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        !matches!(self.reason, Reason::Unreachable | Reason::Timeout)
    }

    fn said(reason: Reason, code: &str, detail: Option<&str>) -> Self {
        let detail = detail.unwrap_or_default();
        let reason = match reason {
            Reason::Other if detail.contains("compiling script") => Reason::Unsupported,
            // What an ACL denies within a script comes without the usual code.
            Reason::Other if detail.contains("can't run this command") => Reason::NoPermission,
            reason => reason,
        };
        Self::new(reason, format!("{code} {detail}"))
    }
}

fn server_reason(kind: Option<ServerErrorKind>, code: &str) -> Reason {
    use ServerErrorKind as Kind;
    match kind {
        Some(Kind::BusyLoading) => Reason::Loading,
        Some(Kind::NoScript) => Reason::NoScript,
        Some(Kind::ExecAbort) => Reason::NotRun,
        Some(Kind::ReadOnly) => Reason::ReadOnly,
        Some(Kind::NoPerm) => Reason::NoPermission,
        Some(Kind::MasterDown) => Reason::MasterDown,
        Some(Kind::Moved | Kind::Ask | Kind::ClusterDown | Kind::CrossSlot) => Reason::Cluster,
        _ => match code {
            "NOAUTH" | "WRONGPASS" => Reason::Auth,
            "OOM" => Reason::OutOfMemory,
            "WRONGTYPE" => Reason::WrongType,
            "BUSY" => Reason::Busy,
            "MISCONF" => Reason::Misconfigured,
            "NOREPLICAS" => Reason::NoReplicas,
            _ => Reason::Other,
        },
    }
}

/// A connection to Redis that is made when needed.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    connection: Option<Connection>,
    /// Index of the password that was accepted last.
    accepted: usize,
}

struct Connection(MultiplexedConnection);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Link {
    /// A link that has not connected yet.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            connection: None,
            accepted: 0,
        }
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// The connection, a timeout, or the server's refusal. The command is not repeated.
    pub async fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Error> {
        let connection = self.connection().await?;
        let answer = command.query_async(connection).await;
        self.judge(answer)
    }

    /// Sends several commands at once and waits for all answers.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn call_all<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, Error> {
        let connection = self.connection().await?;
        let answer = commands.query_async(connection).await;
        self.judge(answer)
    }

    /// A connection of its own for a subscriber, with the credentials that work.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn subscriber(&mut self) -> Result<PubSub, Error> {
        let mut failure = None;
        for index in self.credentials() {
            match connect(self.client(index)?.get_async_pubsub()).await {
                Ok(pubsub) => return Ok(pubsub),
                Err(error) if error.reason == Reason::Auth => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(Reason::Auth, "no credentials")))
    }

    /// Gives the connection up; the next command makes a new one.
    pub fn close(&mut self) {
        self.connection = None;
    }

    /// Reads the certificate files, so that a wrong path is found at the start.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn check(&self) -> Result<(), Error> {
        self.client(0).map(drop)
    }

    fn judge<T>(&mut self, answer: Result<T, RedisError>) -> Result<T, Error> {
        let answer = answer.map_err(Error::from);
        // After these the line is known to be good; after all else a new one is surer.
        let harmless = |reason| {
            use Reason::{NoPermission, NoScript, NotRun, OutOfMemory, WrongType};
            matches!(
                reason,
                NoScript | NotRun | WrongType | OutOfMemory | NoPermission
            )
        };
        if answer.as_ref().is_err_and(|error| !harmless(error.reason)) {
            self.connection = None;
        }
        answer
    }

    async fn connection(&mut self) -> Result<&mut MultiplexedConnection, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        Ok(&mut self.connection.insert(connection).0)
    }

    async fn open(&mut self) -> Result<Connection, Error> {
        let mut failure = None;
        for index in self.credentials() {
            match self.open_with(index).await {
                Ok(connection) => {
                    if index > 0 && self.accepted != index {
                        tracing::info!("redis accepted REDIS_PASSWORD_NEXT");
                    }
                    self.accepted = index;
                    return Ok(connection);
                }
                Err(error) if error.reason == Reason::Auth => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(Reason::Auth, "no credentials")))
    }

    async fn open_with(&self, index: usize) -> Result<Connection, Error> {
        let client = self.client(index)?;
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.config.timeout));
        let mut connection =
            connect(client.get_multiplexed_async_connection_with_config(&settings)).await?;
        // Without a password a protected server takes the connection and refuses the first
        // command, so that one is sent here, where the next password can still be tried.
        let ping = redis::cmd("PING").query_async::<()>(&mut connection).await;
        match ping.map_err(Error::from) {
            Err(error) if error.reason != Reason::NoPermission => return Err(error),
            _ => {}
        }
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(&self.config.client_name);
        if let Err(error) = name.query_async::<()>(&mut connection).await {
            tracing::debug!(%error, "redis did not take the client name");
        }
        Ok(Connection(connection))
    }

    /// Indexes of the passwords to try, the one that worked last first.
    fn credentials(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.config.passwords.len().max(1);
        let first = self.accepted.min(count - 1);
        std::iter::once(first).chain((0..count).filter(move |index| *index != first))
    }

    fn client(&self, index: usize) -> Result<Client, Error> {
        let config = &self.config;
        let info = address(config)?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &config.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = config.passwords.get(index) {
            settings = settings.set_password(password.expose_secret());
        }
        let info = info
            .set_redis_settings(
                settings.set_lib_name("mutt-remediation", env!("CARGO_PKG_VERSION")),
            )
            .set_tcp_settings(
                TcpSettings::default()
                    .set_nodelay(true)
                    .set_keepalive(
                        socket2::TcpKeepalive::new()
                            .with_time(Duration::from_secs(15))
                            .with_interval(Duration::from_secs(5)),
                    )
                    .set_user_timeout(Duration::from_secs(10)),
            );
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = if tls {
            Client::build_with_tls(info, certificates(config)?)
        } else {
            Client::open(info)
        };
        client.map_err(Error::from)
    }
}

async fn connect<T>(attempt: impl Future<Output = Result<T, RedisError>>) -> Result<T, Error> {
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(Err(error)) if error.is_timeout() => Err(Error::new(
            Reason::Unreachable,
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        )),
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(Error::timeout("connecting", CONNECT_TIMEOUT)),
    }
}

fn address(config: &LinkConfig) -> Result<ConnectionInfo, Error> {
    // The crate's own error would repeat the address with its password.
    config.url.clone().into_connection_info().map_err(|error| {
        Error::new(
            Reason::Other,
            format!("bad Redis address: {}", error.category()),
        )
    })
}

fn certificates(config: &LinkConfig) -> Result<TlsCertificates, Error> {
    let root_cert = config
        .ca_cert
        .as_deref()
        .map(read_certificates)
        .transpose()?;
    let client_tls = match &config.client_cert {
        Some((cert, key)) => Some(ClientTlsConfig {
            client_cert: read_certificates(cert)?,
            client_key: read(key)?,
        }),
        None => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn read_certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read(path)?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        return Ok(bytes);
    }
    let detail = format!("{} holds no certificate in PEM", path.display());
    Err(Error::new(Reason::Unreachable, detail))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        Error::new(
            Reason::Unreachable,
            format!("cannot read {}: {error}", path.display()),
        )
    })
}
