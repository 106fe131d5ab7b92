//! What can go wrong between us and Redis, as a closed set of reasons with advice for each.

use std::fmt;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

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
    /// A transaction was begun and not ended as it should: messages may lie in two lists.
    HalfDone,
    /// The server is too old for what we need.
    Unsupported,
    /// The server is a cluster node that cannot serve a key, or it should be one and is not.
    Cluster,
    /// The sentinels do not know the primary's name, or name a server that is none.
    NoPrimary,
    /// What was written has not reached as many replicas as are asked for.
    ReplicasBehind,
    /// Anything else.
    Other,
}

impl Reason {
    /// Every reason, for closed metric label sets.
    pub const ALL: [Self; 20] = [
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
        Self::HalfDone,
        Self::Unsupported,
        Self::Cluster,
        Self::NoPrimary,
        Self::ReplicasBehind,
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
            Self::HalfDone => "half_done",
            Self::Unsupported => "unsupported",
            Self::Cluster => "cluster",
            Self::NoPrimary => "no_primary",
            Self::ReplicasBehind => "replicas_behind",
            Self::Other => "redis_error",
        }
    }

    /// Whether the line is known to be good after it; after all else a new one is surer.
    pub(super) fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::NoScript
                | Self::NotRun
                | Self::WrongType
                | Self::OutOfMemory
                | Self::NoPermission
        )
    }

    /// What the operator is to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "check that Redis runs and that REDIS_HOST, REDIS_PORT (or REDIS_URL, or REDIS_SENTINELS), TLS settings, certificates and network policy lead to it, and that client-output-buffer-limit lets a batch through"
            }
            Self::Timeout => {
                "Redis or the network is stalled: look at SLOWLOG and LATENCY DOCTOR, lower REMEDIATION_BATCH_SIZE or raise REDIS_TIMEOUT"
            }
            Self::Auth => {
                "check REDIS_USERNAME and REDIS_PASSWORD, and REDIS_SENTINEL_PASSWORD if a sentinel refused; during a rotation set REDIS_PASSWORD_NEXT too"
            }
            Self::NoPermission => {
                "give the ACL user the commands and keys that docs/configuration.md lists"
            }
            Self::Loading => "wait: Redis is loading its data set",
            Self::ReadOnly => {
                "point REDIS_HOST at the primary: this server does not take writes; with REDIS_SENTINELS wait, it is looked for"
            }
            Self::MasterDown => "this replica has lost its primary: finish the failover",
            Self::OutOfMemory => {
                "Redis is at maxmemory: free memory or raise it; until then nothing is moved but what an operator purges"
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
            Self::HalfDone => {
                "the batch lies in the replay target or the dead list, and still in the source: compare their ends before it is moved again; the worker uses no transactions any more until it is restarted"
            }
            Self::Unsupported => {
                "use Redis 7.0, Valkey 7.2 or later, with its commands under their own names"
            }
            Self::Cluster => {
                "look at CLUSTER INFO: a slot is moving, or no node serves it; REDIS_CLUSTER_NODES must name nodes of a cluster, and a cluster needs it"
            }
            Self::NoPrimary => {
                "check REDIS_SENTINEL_MASTER against what SENTINEL MASTERS tells, or wait for the end of a failover"
            }
            Self::ReplicasBehind => {
                "bring the replicas back or lower REDIS_WAIT_REPLICAS; no further batch is moved until they have the last one"
            }
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

    pub(super) fn timeout(what: &str, after: Duration) -> Self {
        let detail = format!("{what} took longer than {} s", after.as_secs_f32());
        Self::new(Reason::Timeout, detail)
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        // What a server says within a pipeline or a transaction counts like what it says alone.
        if let Some(errors) = error.clone().into_server_errors()
            && let Some((_, first)) = errors.first()
        {
            let reason = match error.kind() {
                ErrorKind::Server(ServerErrorKind::ExecAbort) => Reason::NotRun,
                _ => server_reason(first.kind(), first.code()),
            };
            let details: Vec<&str> = errors
                .iter()
                .filter_map(|(_, error)| error.details())
                .collect();
            return Self::said(reason, first.code(), Some(&details.join("; ")));
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
        !matches!(
            self.reason,
            Reason::Unreachable | Reason::Timeout | Reason::NoPrimary
        )
    }

    /// The same failure, with the name of whom it is about.
    #[must_use]
    pub fn about(self, whom: &str) -> Self {
        let detail = format!("{whom}: {}", self.detail);
        Self { detail, ..self }
    }

    fn said(reason: Reason, code: &str, detail: Option<&str>) -> Self {
        let detail = detail.unwrap_or_default();
        let reason = match reason {
            Reason::Other if detail.contains("compiling script") => Reason::Unsupported,
            // What an ACL denies within a script comes without the usual code, in the words of Redis
            // 7.0 or in those of later servers.
            Reason::Other
                if detail.contains("user executing the script can't")
                    || detail.contains("ACL failure in script") =>
            {
                Reason::NoPermission
            }
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
            "TRYAGAIN" => Reason::Cluster,
            _ => Reason::Other,
        },
    }
}
