//! The line to Redis: one connection, made when needed, thrown away at the first doubt.
//!
//! A client that reconnects behind one's back hides two things that matter here: that a reply was
//! lost (the outcome is unknown), and that a connection is black-holed (every command times out,
//! for ever). So a [`Link`] holds at most one plain connection, drops it on any failure but a
//! harmless answer, and makes a new one for the next command. It never repeats a command.

pub mod cluster;
mod error;
mod sentinel;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    FromRedisValue, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisError, TlsCertificates, Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc::UnboundedSender;
use url::Url;

pub use error::{Error, Reason};
pub use sentinel::{Address, Sentinels};

/// Longest wait for a TCP and TLS handshake; a Redis that is up answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where Redis is and who we are to it.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// `redis[s]://` address; its user and password, if any, are the first credentials.
    pub url: Url,
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
    /// Nodes of a cluster that tell where a key is; empty for a single server.
    pub cluster: Vec<Address>,
    /// Who knows where the primary is; the address then says only how to speak to it.
    pub sentinels: Option<Sentinels>,
    /// The replicas that are to have what was written.
    pub wait: Option<Wait>,
}

/// How many replicas are to have what was written, and how long to wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// At least one.
    pub replicas: u64,
    /// Shorter than the wait for an answer.
    pub timeout: Duration,
}

/// Lines to wherever a key is: one line to a single server, and in a cluster one for each slot.
#[derive(Debug)]
pub struct Links {
    config: LinkConfig,
    links: BTreeMap<u16, Link>,
}

impl Links {
    /// Lines that have not connected yet.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            links: BTreeMap::new(),
        }
    }

    /// The line to where this key is.
    pub fn to(&mut self, key: &str) -> &mut Link {
        let slot = self.slot(key);
        let link = || Link::to_slot(self.config.clone(), slot);
        self.links.entry(slot).or_insert_with(link)
    }

    /// The line to where all of these keys are, if it is one.
    pub fn to_all(&mut self, keys: &[&str]) -> Option<&mut Link> {
        let (first, rest) = keys.split_first()?;
        let slot = self.slot(first);
        let together = rest.iter().all(|key| self.slot(key) == slot);
        together.then(|| self.to(first))
    }

    fn slot(&self, key: &str) -> u16 {
        let alone = self.config.cluster.is_empty();
        if alone { 0 } else { cluster::slot(key) }
    }
}

/// A connection to Redis that is made when needed.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    /// In a cluster: the slot whose keys are spoken about.
    slot: u16,
    connection: Option<Connection>,
    opened: u64,
    /// Index of the password that was accepted last.
    accepted: usize,
    /// Index of the cluster's node that is asked first.
    node: usize,
    /// Index of the sentinel that is asked first.
    sentinel: usize,
    /// The primary that was found last.
    primary: Option<Address>,
    /// Gets what the server says unasked.
    unasked: Option<UnboundedSender<PushInfo>>,
}

struct Connection {
    line: MultiplexedConnection,
    /// Where it leads to, if a sentinel or another node named it.
    at: Option<Address>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Link {
    /// A link that has not connected yet; in a cluster to where the key is.
    #[must_use]
    pub fn new(config: LinkConfig, key: &str) -> Self {
        let slot = cluster::slot(key);
        Self::to_slot(config, slot)
    }

    fn to_slot(config: LinkConfig, slot: u16) -> Self {
        Self {
            config,
            slot,
            connection: None,
            opened: 0,
            accepted: 0,
            node: 0,
            sentinel: 0,
            primary: None,
            unasked: None,
        }
    }

    /// Speaks RESP3, and hands over what the server says unasked.
    #[must_use]
    pub fn hearing(mut self, unasked: UnboundedSender<PushInfo>) -> Self {
        self.unasked = Some(unasked);
        self
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

    /// Sends several commands at once, and returns all answers as they are, errors among them.
    ///
    /// # Errors
    /// The connection or a timeout.
    pub async fn call_raw(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Error> {
        let connection = self.connection().await?;
        let count = commands.len();
        let answers = connection.req_packed_commands(commands, 0, count).await;
        let answers = self.judge(answers)?;
        let doubtful = |answer: &Value| {
            let error = answer.clone().extract_error().map_err(Error::from).err();
            error.is_some_and(|error| !error.reason.is_harmless())
        };
        let errors = answers
            .iter()
            .filter(|answer| matches!(answer, Value::ServerError(_)));
        if errors.into_iter().any(doubtful) {
            self.doubt();
        }
        Ok(answers)
    }

    /// Tells connections apart: another number each time one is made or given up.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Waits until as many replicas as are asked for have what this connection wrote last, and all
    /// that any other had written before that. Where it has written nothing yet, Redis 8.0 and
    /// Valkey 8.1 wait for nothing.
    ///
    /// # Errors
    /// As [`Link::call`], and [`Reason::ReplicasBehind`]. What was written stands in any case.
    pub async fn replicated(&mut self) -> Result<(), Error> {
        let Some(Wait { replicas, timeout }) = self.config.wait else {
            return Ok(());
        };
        let mut command = redis::cmd("WAIT");
        command.arg(replicas).arg(timeout.as_millis().to_string());
        let have: u64 = self.call(&command).await?;
        if have < replicas {
            let ms = timeout.as_millis();
            let detail = format!("{have} of {replicas} replicas had it within {ms} ms");
            return Err(Error::new(Reason::ReplicasBehind, detail));
        }
        Ok(())
    }

    /// Whether replicas are to have what was written.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.config.wait.is_some()
    }

    /// A connection of its own for a subscriber, with the credentials that work.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn subscriber(&mut self) -> Result<PubSub, Error> {
        if self.config.sentinels.is_some() || !self.config.cluster.is_empty() {
            // It finds the server, and the subscriber goes to the same one.
            self.connection().await?;
        }
        let at = self.connection.as_ref().and_then(|line| line.at.clone());
        let mut failure = None;
        for index in self.credentials() {
            let client = self.client(at.as_ref(), index)?;
            match connect(client.get_async_pubsub()).await {
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
        self.opened += 1;
    }

    /// Reads the certificate files, so that a wrong path is found at the start.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn check(&self) -> Result<(), Error> {
        self.client(None, 0).map(drop)
    }

    fn judge<T>(&mut self, answer: Result<T, RedisError>) -> Result<T, Error> {
        let answer = answer.map_err(Error::from);
        let doubtful = |error: &Error| !error.reason.is_harmless();
        if answer.as_ref().is_err_and(doubtful) {
            self.doubt();
        }
        answer
    }

    fn doubt(&mut self) {
        self.close();
        self.ask_another_node();
    }

    /// Who told us where to go may not know better for long.
    fn ask_another_node(&mut self) {
        self.node = (self.node + 1) % self.config.cluster.len().max(1);
    }

    async fn connection(&mut self) -> Result<&mut MultiplexedConnection, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        Ok(&mut self.connection.insert(connection).line)
    }

    async fn open(&mut self) -> Result<Connection, Error> {
        if let Some(sentinels) = self.config.sentinels.clone() {
            return self.search(&sentinels).await;
        }
        if !self.config.cluster.is_empty() {
            let owner = self.owner().await?;
            let opened = self.open_at(Some(&owner)).await;
            if opened.is_err() {
                self.ask_another_node();
            }
            return opened;
        }
        self.open_at(None).await
    }

    async fn open_at(&mut self, at: Option<&Address>) -> Result<Connection, Error> {
        let mut failure = None;
        for index in self.credentials() {
            match self.open_with(at, index).await {
                Ok(connection) => {
                    if index > 0 && self.accepted != index {
                        tracing::info!("redis accepted REDIS_PASSWORD_NEXT");
                    }
                    self.accepted = index;
                    self.opened += 1;
                    return Ok(connection);
                }
                Err(error) if error.reason == Reason::Auth => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(Reason::Auth, "no credentials")))
    }

    async fn open_with(&self, at: Option<&Address>, index: usize) -> Result<Connection, Error> {
        let client = self.client(at, index)?;
        let mut settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.config.timeout));
        if let Some(unasked) = &self.unasked {
            settings = settings.set_push_sender(unasked.clone());
        }
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
        Ok(Connection {
            line: connection,
            at: at.cloned(),
        })
    }

    /// Indexes of the passwords to try, the one that worked last first.
    fn credentials(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.config.passwords.len().max(1);
        let first = self.accepted.min(count - 1);
        std::iter::once(first).chain((0..count).filter(move |index| *index != first))
    }

    fn client(&self, at: Option<&Address>, index: usize) -> Result<Client, Error> {
        let config = &self.config;
        let mut settings = connection_info(&config.url)?.redis_settings().clone();
        if let Some(username) = &config.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = config.passwords.get(index) {
            settings = settings.set_password(password.expose_secret());
        }
        if self.unasked.is_some() {
            settings = settings.set_protocol(ProtocolVersion::RESP3);
        }
        let settings = settings.set_lib_name("mutt-remediation", env!("CARGO_PKG_VERSION"));
        self.client_for(at, settings)
    }

    /// A client of this server or sentinel, as whoever these settings say.
    fn client_for(
        &self,
        at: Option<&Address>,
        settings: RedisConnectionInfo,
    ) -> Result<Client, Error> {
        let config = &self.config;
        let mut info = connection_info(&config.url)?;
        if let Some(at) = at {
            let addr = at.instead_of(info.addr());
            info = info.set_addr(addr);
        }
        let info = info.set_redis_settings(settings).set_tcp_settings(
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

/// An answer among others, unless it is an error.
///
/// # Errors
/// What the server said.
pub fn checked(answer: Value) -> Result<Value, Error> {
    answer.extract_error().map_err(Error::from)
}

/// The same, as what it is expected to be.
///
/// # Errors
/// What the server said, and what is something else.
pub fn read<T: FromRedisValue>(answer: Value) -> Result<T, Error> {
    let answer = redis::from_redis_value(checked(answer)?);
    answer.map_err(|error| RedisError::from(error).into())
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

fn connection_info(url: &Url) -> Result<ConnectionInfo, Error> {
    // The crate's own error would repeat the address with its password.
    url.clone().into_connection_info().map_err(|error| {
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
            client_key: read_file(key)?,
        }),
        None => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn read_certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read_file(path)?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        return Ok(bytes);
    }
    let detail = format!("{} holds no certificate in PEM", path.display());
    Err(Error::new(Reason::Unreachable, detail))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        Error::new(
            Reason::Unreachable,
            format!("cannot read {}: {error}", path.display()),
        )
    })
}
