//! A Redis Cluster of a test's own: three primaries with a replica each, on loopback.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::redis::Redis;
use super::wait::pause;
use mutt_remediation::demo::server::free_port;
use mutt_remediation::link::cluster::slot;

pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Self {
        let nodes: Vec<Redis> = (0..6)
            .map(|_| {
                let bus = free_port().expect("a free port").to_string();
                Redis::with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "1000",
                    "--appendonly",
                    "yes",
                    "--repl-diskless-sync-delay",
                    "0",
                ])
            })
            .collect();
        let cluster = Self { nodes };
        let addresses = cluster.addresses();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        Self::cli(&create);
        cluster.settled().await;
        cluster
    }

    /// Waits until every node serves, and every primary has a replica that follows it.
    pub async fn settled(&self) {
        let began = Instant::now();
        loop {
            let mut good = 0;
            for (_, node) in self.up() {
                let info = node.try_command::<String>(&["CLUSTER", "INFO"]).await;
                let role = node.try_command::<String>(&["INFO", "replication"]).await;
                let (Ok(info), Ok(role)) = (info, role) else {
                    continue;
                };
                let follows = role.contains("master_link_status:up")
                    || (role.contains("role:master") && role.contains("state=online"));
                good += usize::from(info.contains("cluster_state:ok") && follows);
            }
            if good == self.up().count() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "{good} of 6");
            pause().await;
        }
    }

    fn cli(arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli comes with redis-server");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }

    fn addresses(&self) -> Vec<String> {
        let address = |node: &Redis| format!("127.0.0.1:{}", node.port());
        self.nodes.iter().map(address).collect()
    }

    /// For `REDIS_CLUSTER_NODES`.
    pub fn seeds(&self) -> String {
        self.addresses().join(",")
    }

    /// Index of the node that serves a key now, as a majority of the others sees it.
    pub async fn owner(&self, key: &str) -> usize {
        let began = Instant::now();
        loop {
            for (index, node) in self.up() {
                let Ok(role) = node.try_command::<Vec<redis::Value>>(&["ROLE"]).await else {
                    continue;
                };
                let role: String = redis::from_redis_value_ref(&role[0]).expect("a word");
                if role != "master" {
                    continue;
                }
                // A node answers for its own keys and redirects all others.
                let answer = node.try_command::<i64>(&["LLEN", key]).await;
                if answer.is_ok() {
                    return index;
                }
            }
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "nobody serves {key}"
            );
            pause().await;
        }
    }

    fn up(&self) -> impl Iterator<Item = (usize, &Redis)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.is_up())
    }

    pub fn node(&self, index: usize) -> &Redis {
        &self.nodes[index]
    }

    pub fn node_mut(&mut self, index: usize) -> &mut Redis {
        &mut self.nodes[index]
    }

    /// Where a key is now.
    pub async fn at(&self, key: &str) -> &Redis {
        &self.nodes[self.owner(key).await]
    }

    /// The replica of the node that a key is on.
    pub async fn replica_of(&self, key: &str) -> &Redis {
        let primary = format!("master_port:{}\r\n", self.at(key).await.port());
        for (_, node) in self.up() {
            let info: String = node.command(&["INFO", "replication"]).await;
            if info.contains("role:slave") && info.contains(&primary) {
                return node;
            }
        }
        panic!("{key} has no replica");
    }

    pub async fn len(&self, key: &str) -> usize {
        self.at(key).await.len(key).await
    }

    pub async fn texts(&self, key: &str) -> Vec<String> {
        self.at(key).await.texts(key).await
    }

    pub async fn push<B: AsRef<[u8]>>(&self, key: &str, messages: &[B]) {
        self.at(key).await.push(key, messages).await;
    }

    /// Moves the slot of a key to another primary.
    pub async fn move_slot(&self, key: &str) {
        let from = self.owner(key).await;
        let mut to = None;
        for (index, node) in self.up() {
            let role: String = node.command(&["INFO", "replication"]).await;
            if index != from && role.contains("role:master") {
                to = Some(index);
            }
        }
        let (from, to) = (self.node(from), self.node(to.expect("three primaries")));
        let slot = slot(key).to_string();
        let from_id: String = from.command(&["CLUSTER", "MYID"]).await;
        let to_id: String = to.command(&["CLUSTER", "MYID"]).await;
        let setslot = ["CLUSTER", "SETSLOT", &*slot];
        let importing = [&setslot[..], &["IMPORTING", &from_id]].concat();
        to.command::<()>(&importing).await;
        let migrating = [&setslot[..], &["MIGRATING", &to_id]].concat();
        from.command::<()>(&migrating).await;
        loop {
            let keys: Vec<String> = from
                .command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"])
                .await;
            if keys.is_empty() {
                break;
            }
            let port = to.port().to_string();
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            from.command::<redis::Value>(&[&migrate[..], &keys].concat())
                .await;
        }
        let done = [&setslot[..], &["NODE", &to_id]].concat();
        to.command::<()>(&done).await;
        from.command::<()>(&done).await;
    }
}
