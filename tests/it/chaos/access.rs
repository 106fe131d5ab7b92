//! How everybody who is no daemon finds the server of a list.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};

use super::place::{Lists, Place};
use crate::support::{MASTER, Redis};

#[derive(Clone, Debug)]
pub struct Access {
    pub lists: Lists,
    pub directory: Directory,
    /// All that a server has.
    pub replicas: usize,
    /// The ports of proxies on the way to these ports.
    pub through: Arc<HashMap<u16, u16>>,
}

#[derive(Clone, Debug)]
pub enum Directory {
    One(u16),
    Cluster(Vec<u16>),
    Sentinels(Vec<u16>),
}

impl Directory {
    /// Leads to this server and no other.
    pub fn only(&self, port: u16) -> Self {
        match self {
            Self::One(_) => Self::One(port),
            Self::Cluster(_) | Self::Sentinels(_) => Self::Cluster(vec![port]),
        }
    }
}

impl Access {
    pub fn to(redis: &Redis) -> Self {
        Self {
            lists: Place::One.lists(),
            directory: Directory::One(redis.port()),
            replicas: 0,
            through: Arc::default(),
        }
    }

    /// A port to begin with.
    pub fn first(&self) -> u16 {
        match &self.directory {
            Directory::One(port) => *port,
            Directory::Cluster(ports) | Directory::Sentinels(ports) => ports[0],
        }
    }

    /// A connection to this server, or where there are sentinels to the one that they name, and its
    /// port.
    pub async fn connect(
        &self,
        port: u16,
        patience: Duration,
    ) -> RedisResult<(u16, MultiplexedConnection)> {
        let Directory::Sentinels(sentinels) = &self.directory else {
            return Ok((port, self.line(port, patience).await?));
        };
        let mut failure = None;
        for sentinel in sentinels {
            match self.primary(*sentinel, patience).await {
                Ok(found) => return Ok(found),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("there are sentinels"))
    }

    /// The server that this sentinel names, if it says the same of itself.
    async fn primary(
        &self,
        sentinel: u16,
        patience: Duration,
    ) -> RedisResult<(u16, MultiplexedConnection)> {
        let mut line = self.line(sentinel, patience).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER);
        let (_, port): (String, u16) = question.query_async(&mut line).await?;
        let mut line = self.line(port, patience).await?;
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut line).await?;
        if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
            let told = (redis::ErrorKind::Client, "it is no primary");
            return Err(told.into());
        }
        Ok((port, line))
    }

    async fn line(&self, port: u16, patience: Duration) -> RedisResult<MultiplexedConnection> {
        let port = self.through.get(&port).copied().unwrap_or(port);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        Client::open(("127.0.0.1", port))?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}
