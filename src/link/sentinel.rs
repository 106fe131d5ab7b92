//! Finds the primary: asks the sentinels in turn, and believes none of them until the server itself
//! says that it is the primary.

use std::fmt;
use std::time::Duration;

use redis::{AsyncConnectionConfig, ConnectionAddr, RedisConnectionInfo, Value};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, Connection, Error, Link, Reason, connect};

/// Longest search; the next one begins with the sentinel that this one did not come to.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(15);

/// A server's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// This place in the stead of another one, spoken to in the same way.
    pub(super) fn instead_of(&self, other: &ConnectionAddr) -> ConnectionAddr {
        let Self { host, port } = self.clone();
        match other {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Whom to ask for the primary, and who we are to them.
#[derive(Clone, Debug)]
pub struct Sentinels {
    /// At least one.
    pub addresses: Vec<Address>,
    /// The name that the sentinels know the primary by.
    pub primary: String,
    /// ACL user of the sentinels.
    pub username: Option<String>,
    /// Password of the sentinels, apart from that of the servers that they watch.
    pub password: Option<SecretString>,
}

impl Link {
    /// A connection to the primary that the sentinels name.
    pub(super) async fn search(&mut self, sentinels: &Sentinels) -> Result<Connection, Error> {
        let search = self.ask_in_turn(sentinels);
        timeout(SEARCH_TIMEOUT, search).await.unwrap_or_else(|_| {
            let seconds = SEARCH_TIMEOUT.as_secs();
            let detail = format!("no sentinel led to a primary within {seconds} s");
            Err(Error::new(Reason::Unreachable, detail))
        })
    }

    async fn ask_in_turn(&mut self, sentinels: &Sentinels) -> Result<Connection, Error> {
        let count = sentinels.addresses.len();
        let first = self.sentinel;
        let mut failures = Vec::new();
        let mut tried = Vec::new();
        for index in (first..first + count).map(|index| index % count) {
            // Who lets a search run out of time is not the first to be asked again.
            self.sentinel = (index + 1) % count;
            let sentinel = &sentinels.addresses[index];
            let named = match self.ask(sentinels, sentinel).await {
                Ok(named) => named,
                Err(error) => {
                    failures.push(error.about(&format!("sentinel {sentinel}")));
                    continue;
                }
            };
            if tried.contains(&named) {
                continue;
            }
            match self.open_primary(&named).await {
                Ok(connection) => {
                    self.sentinel = index;
                    self.tell(&named, sentinel);
                    return Ok(connection);
                }
                Err(error) => {
                    let whom = format!("{named}, which sentinel {sentinel} names");
                    failures.push(error.about(&whom));
                }
            }
            tried.push(named);
        }
        Err(all_in_one(failures))
    }

    /// What one sentinel holds for the primary; it may be out of date.
    async fn ask(&self, sentinels: &Sentinels, sentinel: &Address) -> Result<Address, Error> {
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &sentinels.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &sentinels.password {
            settings = settings.set_password(password.expose_secret());
        }
        let client = self.client_for(Some(sentinel), settings)?;
        let mut question = redis::cmd("SENTINEL");
        question
            .arg("get-master-addr-by-name")
            .arg(&sentinels.primary);
        let named: Option<(String, u16)> = connect(async {
            let mut line = client
                .get_multiplexed_async_connection_with_config(
                    &AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(CONNECT_TIMEOUT))
                        .set_response_timeout(Some(CONNECT_TIMEOUT)),
                )
                .await?;
            question.query_async(&mut line).await
        })
        .await?;
        let Some((host, port)) = named else {
            let detail = format!("knows no primary named {:?}", sentinels.primary);
            return Err(Error::new(Reason::NoPrimary, detail));
        };
        Ok(Address { host, port })
    }

    /// A connection to this server if it says itself that it is a primary. A sentinel that was cut
    /// off names the old one for a while, and that one may be a replica by now.
    async fn open_primary(&mut self, named: &Address) -> Result<Connection, Error> {
        let mut connection = self.open_at(Some(named)).await?;
        let question = redis::cmd("ROLE");
        let answer: Vec<Value> = question.query_async(&mut connection.line).await?;
        match answer.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
            Some(Value::BulkString(role)) => {
                let role = String::from_utf8_lossy(role);
                let detail = format!("is no primary, its role is {role}");
                Err(Error::new(Reason::NoPrimary, detail))
            }
            _ => Err(Error::new(Reason::Other, "unexpected answer of ROLE")),
        }
    }

    fn tell(&mut self, named: &Address, sentinel: &Address) {
        let before = self.primary.replace(named.clone());
        match before {
            None => tracing::info!(primary = %named, %sentinel, "sentinel names the primary"),
            Some(before) if before != *named => {
                tracing::warn!(primary = %named, %before, %sentinel, "the primary has changed");
            }
            Some(_) => {}
        }
    }
}

/// What a server or a sentinel says tells more than that another one is silent.
fn all_in_one(failures: Vec<Error>) -> Error {
    let telling = failures.iter().rev().find(|error| error.is_answer());
    let no_primary = failures
        .iter()
        .rev()
        .find(|error| error.reason == Reason::NoPrimary);
    let reason = telling
        .or(no_primary)
        .or(failures.last())
        .map_or(Reason::NoPrimary, |error| error.reason);
    let details: Vec<String> = failures.into_iter().map(|error| error.detail).collect();
    Error::new(reason, details.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(reasons: &[Reason]) -> Error {
        let failure = |reason: &Reason| Error::new(*reason, reason.as_str());
        all_in_one(reasons.iter().map(failure).collect())
    }

    #[test]
    fn the_most_telling_failure_gives_the_reason_and_all_give_details() {
        use Reason::{Auth, NoPrimary, Timeout, Unreachable};
        let error = failures(&[Unreachable, NoPrimary, Timeout]);
        assert_eq!(error.reason, NoPrimary);
        assert_eq!(error.detail, "unreachable; no_primary; timeout");
        assert_eq!(failures(&[Auth, NoPrimary, Unreachable]).reason, Auth);
        assert_eq!(failures(&[Unreachable, Timeout]).reason, Timeout);
    }

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        let shown = |host: &str| {
            let host = host.to_owned();
            Address { host, port: 1 }.to_string()
        };
        assert_eq!(shown("redis-0"), "redis-0:1");
        assert_eq!(shown("::1"), "[::1]:1");
    }
}
