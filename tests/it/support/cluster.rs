//! A Redis Cluster of a test's own: three primaries with a replica each, on loopback.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redis::Value;

use super::redis::Redis;
use super::wait::{pause, until};
use mutt_remediation::demo::server::free_port;
use mutt_remediation::link::cluster::slot;

/// Which of two nodes is told something first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The one that gives a slot away.
    Giver,
    Taker,
}

pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further arguments for each node.
    pub async fn with(arguments: &[&str]) -> Self {
        let nodes: Vec<Redis> = (0..6)
            .map(|_| {
                let bus = free_port().expect("a free port").to_string();
                let own = [
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
                ];
                Redis::with(&[&own[..], arguments].concat())
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

    /// Waits until every node serves, every primary has a replica that follows it, and all agree
    /// on who serves what.
    pub async fn settled(&self) {
        let began = Instant::now();
        loop {
            let mut good = 0;
            let mut views = HashSet::new();
            for (_, node) in self.up() {
                let info = node.try_command::<String>(&["CLUSTER", "INFO"]).await;
                let role = node.try_command::<String>(&["INFO", "replication"]).await;
                let view = view(node).await;
                let (Ok(info), Ok(role), Ok(view)) = (info, role, view) else {
                    continue;
                };
                let follows = role.contains("master_link_status:up")
                    || (role.contains("role:master") && role.contains("state=online"));
                good += usize::from(info.contains("cluster_state:ok") && follows);
                views.insert(view);
            }
            if good == self.up().count() && views.len() == 1 {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "{good} of 6: {views:?}"
            );
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

    /// Asks the node of a key, until there is one that answers.
    async fn ask<T: redis::FromRedisValue>(&self, key: &str, words: &[&str]) -> T {
        let began = Instant::now();
        loop {
            // All of a cluster may be down for a moment between the two.
            match self.at(key).await.try_command(words).await {
                Ok(answer) => return answer,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(90), "{error}"),
            }
            pause().await;
        }
    }

    pub async fn len(&self, key: &str) -> usize {
        self.ask(key, &["LLEN", key]).await
    }

    /// A whole list, oldest first.
    pub async fn list(&self, key: &str) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = self.ask(key, &["LRANGE", key, "0", "-1"]).await;
        all.reverse();
        all
    }

    pub async fn texts(&self, key: &str) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.list(key).await.into_iter().map(text).collect()
    }

    pub async fn push<B: AsRef<[u8]>>(&self, key: &str, messages: &[B]) {
        self.at(key).await.push(key, messages).await;
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// Has the slots of these keys lie on different nodes.
    pub async fn part(&self, keys: &[&str]) {
        let mut taken = HashSet::new();
        for key in keys {
            let from = self.owner(key).await;
            if !taken.insert(from) {
                let mut free = self.primaries().await.into_iter();
                let to = free.find(|to| !taken.contains(to)).expect("a free one");
                self.move_slot_to(key, to, First::Taker, First::Taker).await;
                taken.insert(to);
            }
        }
    }

    /// Has the replica of a key's node take over, when it has all that the node has.
    pub async fn fail_over(&self, key: &str) {
        let replica = self.replica(key).await;
        let replica = self.node(replica);
        let mut ordered: Option<Instant> = None;
        loop {
            let info: String = replica.command(&["INFO", "replication"]).await;
            if info.contains("role:master") {
                return;
            }
            // An order is given up after five seconds, where the primary is too slow.
            if ordered.is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
                let order = ["CLUSTER", "FAILOVER"];
                let _ = replica.try_command::<()>(&order).await;
                ordered = Some(Instant::now());
            }
            pause().await;
        }
    }

    /// Index of the replica of a key's node.
    pub async fn replica(&self, key: &str) -> usize {
        let primary = self.at(key).await.port().to_string();
        for (index, node) in self.up() {
            let info: String = node.command(&["INFO", "replication"]).await;
            if info.contains(&format!("master_port:{primary}\r")) {
                return index;
            }
        }
        panic!("the node of {key} has no replica");
    }

    pub async fn primaries(&self) -> Vec<usize> {
        let mut primaries = vec![];
        for (index, node) in self.up() {
            let info: String = node.command(&["INFO", "replication"]).await;
            if info.contains("role:master") {
                primaries.push(index);
            }
        }
        primaries
    }

    /// Moves the slot of a key to another primary.
    pub async fn move_slot(&self, key: &str) {
        self.move_slot_in_order(key, First::Taker, First::Taker)
            .await;
    }

    /// Moves it and tells these nodes first that it moves, and that it has moved.
    pub async fn move_slot_in_order(&self, key: &str, begin: First, end: First) {
        let from = self.owner(key).await;
        let mut others = self.primaries().await.into_iter();
        let to = others.rfind(|to| *to != from);
        self.move_slot_to(key, to.expect("three primaries"), begin, end)
            .await;
    }

    async fn move_slot_to(&self, key: &str, to: usize, begin: First, end: First) {
        let handover = self.hand_over(key, to, begin).await;
        let last = match end {
            First::Giver => First::Taker,
            First::Taker => First::Giver,
        };
        self.tell(&handover, end).await;
        self.tell(&handover, last).await;
    }

    /// Moves all keys of a slot to another primary; neither knows that it serves the slot now.
    pub async fn hand_over(&self, key: &str, to: usize, begin: First) -> Handover {
        let handover = self.announce_move(key, to, begin).await;
        self.carry_the_rest(&handover).await;
        handover
    }

    /// Tells both primaries that a slot is about to move; its keys are where they were.
    pub async fn announce_move(&self, key: &str, to: usize, begin: First) -> Handover {
        let giver = self.owner(key).await;
        let slot = slot(key).to_string();
        let (from, taker) = (self.node(giver), self.node(to));
        let from_id: String = from.command(&["CLUSTER", "MYID"]).await;
        let to_id: String = taker.command(&["CLUSTER", "MYID"]).await;
        let setslot = ["CLUSTER", "SETSLOT", &*slot];
        let importing = [&setslot[..], &["IMPORTING", &from_id]].concat();
        let migrating = [&setslot[..], &["MIGRATING", &to_id]].concat();
        let mut steps = [(taker, &importing), (from, &migrating)];
        if begin == First::Giver {
            steps.reverse();
        }
        for (node, step) in steps {
            node.command::<()>(step).await;
            pause().await;
        }
        Handover {
            giver,
            taker: to,
            slot,
            to_id,
        }
    }

    /// Moves one key of a slot that is about to move.
    pub async fn carry(&self, handover: &Handover, key: &str) {
        let (from, taker) = (self.node(handover.giver), self.node(handover.taker));
        let port = taker.port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        let since = Instant::now();
        // Refused while the other one takes the cluster to be down.
        while let Err(error) = from.try_command::<()>(&migrate).await {
            assert!(since.elapsed() < Duration::from_secs(90), "{error}");
            pause().await;
        }
    }

    /// Moves all keys that are left.
    pub async fn carry_the_rest(&self, handover: &Handover) {
        while let Some(key) = self.left(handover, 1).await.first() {
            self.carry(handover, key).await;
        }
        // What has arrived has not yet arrived at a replica.
        self.node(handover.taker).until_replicated().await;
    }

    /// So many keys that have not moved yet, at most.
    pub async fn left(&self, handover: &Handover, at_most: usize) -> Vec<String> {
        let at_most = at_most.to_string();
        let words = ["CLUSTER", "GETKEYSINSLOT", &handover.slot, &at_most];
        self.node(handover.giver).command(&words).await
    }

    /// Tells one of them that the slot has moved.
    pub async fn tell(&self, handover: &Handover, first: First) {
        let node = match first {
            First::Giver => self.node(handover.giver),
            First::Taker => self.node(handover.taker),
        };
        let Handover { slot, to_id, .. } = handover;
        let words = ["CLUSTER", "SETSLOT", slot, "NODE", to_id];
        node.command::<()>(&words).await;
        pause().await;
    }

    /// Tells both, the one first that has it.
    pub async fn tell_both(&self, handover: &Handover) {
        self.tell(handover, First::Taker).await;
        self.tell(handover, First::Giver).await;
    }

    /// Has a replica take over without asking anybody. What it has not received is forgotten.
    pub async fn take_over(&self, replica: usize) {
        let replica = self.node(replica);
        replica
            .command::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"])
            .await;
        until("it has taken over", || async {
            let info: String = replica.command(&["INFO", "replication"]).await;
            info.contains("role:master")
        })
        .await;
        replica
            .command::<()>(&["CONFIG", "SET", "masterauth", ""])
            .await;
    }
}

/// A slot on its way.
pub struct Handover {
    giver: usize,
    taker: usize,
    slot: String,
    to_id: String,
}

/// Which port serves which slots, in a node's view.
async fn view(node: &Redis) -> redis::RedisResult<Vec<(u16, u16, u16)>> {
    let ranges: Vec<Vec<Value>> = node.try_command(&["CLUSTER", "SLOTS"]).await?;
    let mut view = vec![];
    for range in ranges {
        let from = redis::from_redis_value_ref(&range[0])?;
        let to = redis::from_redis_value_ref(&range[1])?;
        let primary: Vec<Value> = redis::from_redis_value_ref(&range[2])?;
        view.push((from, to, redis::from_redis_value_ref(&primary[1])?));
    }
    view.sort_unstable();
    Ok(view)
}
