//! Where a round takes place: the servers there, and the names of the lists.

use std::fmt;
use std::sync::Arc;

use redis::Value;

use super::access::{Access, Directory};
use super::schedule::Side;
use crate::support::{
    Cluster, DEAD, First, MASTER, Redis, SOURCE, Sentinel, TARGET, Watched, until,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server.
    One,
    /// A cluster, all lists in one slot.
    Tagged,
    /// A cluster, each list on a node of its own.
    Spread,
    /// A primary with two replicas and three sentinels.
    Sentinel,
}

/// The names of the lists; what the others take lies beside what they take it from, and what they
/// note of their pushes beside where they push to.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    pub source: &'static str,
    pub target: &'static str,
    pub dead: &'static str,
    pub consumed: &'static str,
    pub taken: &'static str,
    pub pushed: &'static str,
}

impl Lists {
    pub fn of(&self, side: Side) -> &'static str {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
            Side::Dead => self.dead,
        }
    }
}

impl Place {
    pub const ALL: [Self; 4] = [Self::One, Self::Tagged, Self::Spread, Self::Sentinel];

    /// The place that `CHAOS_PLACE` means.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|place| place.to_string() == name)
    }

    pub fn lists(self) -> Lists {
        match self {
            Self::One | Self::Sentinel => Lists {
                source: SOURCE,
                target: TARGET,
                dead: DEAD,
                consumed: "chaos:consumed",
                taken: "chaos:taken",
                pushed: "chaos:pushed",
            },
            Self::Tagged => Lists {
                source: "{mutt}:dlq:alerter",
                target: "{mutt}:ingest_queue",
                dead: "{mutt}:dlq:dead",
                consumed: "{mutt}:chaos:consumed",
                taken: "{mutt}:chaos:taken",
                pushed: "{mutt}:chaos:pushed",
            },
            Self::Spread => Lists {
                source: SOURCE,
                target: TARGET,
                dead: DEAD,
                consumed: "{mutt:ingest_queue}:chaos:consumed",
                taken: "{mutt:dlq:alerter}:chaos:taken",
                pushed: "{mutt:dlq:alerter}:chaos:pushed",
            },
        }
    }

    pub fn in_cluster(self) -> bool {
        matches!(self, Self::Tagged | Self::Spread)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one",
            Self::Tagged => "tagged",
            Self::Spread => "spread",
            Self::Sentinel => "sentinel",
        })
    }
}

/// All servers of a place.
pub struct Servers {
    pub place: Place,
    kind: Kind,
}

enum Kind {
    One(Box<Redis>),
    Cluster(Cluster),
    Watched(Watched),
}

/// Everybody who is no daemon is the default user, from whom no right is taken.
const WORKER: [&str; 7] = ["--user", "worker", "on", ">secret", "~*", "&*", "+@all"];

impl Servers {
    /// `persistent`: one server that writes a log. Of what has been confirmed a killed process
    /// forgets nothing then. The servers of the other places always write one.
    pub async fn start(place: Place, persistent: bool) -> Self {
        let log = if persistent { "yes" } else { "no" };
        // With everysec a write may be put off, and confirmed before.
        let always = ["--appendonly", log, "--appendfsync", "always"];
        let at_once = ["--appendonly", "yes", "--appendfsync", "no"];
        let kind = match place {
            Place::One => Kind::One(Box::new(Redis::with(&[&always[..], &WORKER].concat()))),
            Place::Tagged | Place::Spread => {
                Kind::Cluster(Cluster::with(&[&at_once[..], &WORKER].concat()).await)
            }
            Place::Sentinel => {
                let quick = [
                    format!("sentinel down-after-milliseconds {MASTER} 1000"),
                    format!("sentinel failover-timeout {MASTER} 2000"),
                ];
                let quick = [&*quick[0], &*quick[1]];
                Kind::Watched(Watched::with(&[&at_once[..], &WORKER].concat(), &quick).await)
            }
        };
        Self { place, kind }
    }

    /// Makes them as they were at first, for a round at this place, which must be of their kind.
    pub async fn clear(&mut self, place: Place) {
        assert_eq!(place.in_cluster(), self.place.in_cluster());
        self.place = place;
        self.mend().await;
        for redis in self.all() {
            if role(redis).await.0 == "master" {
                redis.command::<()>(&["FLUSHALL"]).await;
            }
        }
        if let (Place::Spread, Kind::Cluster(cluster)) = (place, &self.kind) {
            let lists = place.lists();
            cluster
                .part(&[lists.source, lists.target, lists.dead])
                .await;
            cluster.settled().await;
        }
    }

    pub fn all(&self) -> &[Redis] {
        match &self.kind {
            Kind::One(redis) => std::slice::from_ref(redis),
            Kind::Cluster(cluster) => cluster.nodes(),
            Kind::Watched(watched) => &watched.servers,
        }
    }

    pub fn all_mut(&mut self) -> &mut [Redis] {
        match &mut self.kind {
            Kind::One(redis) => std::slice::from_mut(redis),
            Kind::Cluster(cluster) => cluster.nodes_mut(),
            Kind::Watched(watched) => &mut watched.servers,
        }
    }

    pub fn access(&self) -> Access {
        let (directory, replicas) = match &self.kind {
            Kind::One(redis) => (Directory::One(redis.port()), 0),
            Kind::Cluster(cluster) => {
                let ports = cluster.nodes().iter().map(Redis::port);
                (Directory::Cluster(ports.collect()), 1)
            }
            Kind::Watched(watched) => {
                let ports = watched.sentinels.iter().map(Sentinel::port);
                (Directory::Sentinels(ports.collect()), 2)
            }
        };
        Access {
            lists: self.place.lists(),
            directory,
            replicas,
            through: Arc::default(),
        }
    }

    /// What leads a daemon there; `entry` is where it is to begin that would begin on a port.
    pub fn variables(&self, entry: impl Fn(u16) -> u16) -> Vec<(&'static str, String)> {
        let lists = self.place.lists();
        let addresses = |ports: Vec<u16>| {
            let ports = ports.into_iter().map(&entry);
            let addresses: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
            addresses.join(",")
        };
        let mut variables = match self.access().directory {
            Directory::One(port) => vec![
                ("REDIS_HOST", "127.0.0.1".to_owned()),
                ("REDIS_PORT", entry(port).to_string()),
            ],
            Directory::Cluster(ports) => vec![("REDIS_CLUSTER_NODES", addresses(ports))],
            Directory::Sentinels(ports) => vec![
                ("REDIS_SENTINELS", addresses(ports)),
                ("REDIS_SENTINEL_MASTER", MASTER.to_owned()),
            ],
        };
        variables.extend([
            ("ALERTER_DLQ_NAME", lists.source.to_owned()),
            ("INGEST_QUEUE_NAME", lists.target.to_owned()),
            ("DEAD_LETTER_QUEUE", lists.dead.to_owned()),
            ("REDIS_USERNAME", "worker".to_owned()),
            ("REDIS_PASSWORD", "secret".to_owned()),
            // All of it is counted in the end.
            ("REMEDIATION_AUDIT_LENGTH", "1000000".to_owned()),
        ]);
        variables
    }

    /// The server that serves a list, once all is whole.
    pub async fn at(&self, list: &str) -> &Redis {
        match &self.kind {
            Kind::One(redis) => redis,
            Kind::Cluster(cluster) => cluster.at(list).await,
            Kind::Watched(watched) => watched.agreed().await,
        }
    }

    /// Waits until a replica, if there are any, has what this list holds.
    pub async fn replicated(&self, list: &str) {
        if self.place != Place::One {
            self.at(list).await.until_replicated().await;
        }
    }

    pub async fn len(&self, list: &str) -> usize {
        match &self.kind {
            Kind::Cluster(cluster) => cluster.len(list).await,
            _ => self.at(list).await.len(list).await,
        }
    }

    /// A whole list, oldest first.
    pub async fn list(&self, list: &str) -> Vec<Vec<u8>> {
        match &self.kind {
            Kind::Cluster(cluster) => cluster.list(list).await,
            _ => self.at(list).await.list(list).await,
        }
    }

    /// Ends every fault, and waits until each server serves or follows, and all agree on who does.
    /// Nothing is repaired here that a server has lost.
    pub async fn mend(&mut self) {
        for redis in self.all_mut() {
            if redis.is_up() {
                redis.signal("-CONT");
            } else {
                redis.up();
            }
        }
        for redis in self.all() {
            for words in [
                &["CLIENT", "UNPAUSE"][..],
                &["CONFIG", "SET", "maxmemory", "0", "masterauth", ""],
                &["ACL", "SETUSER", "worker", "on", "+@all"],
            ] {
                redis.command::<()>(words).await;
            }
        }
        match &self.kind {
            Kind::One(_) => {}
            Kind::Cluster(cluster) => cluster.settled().await,
            Kind::Watched(watched) => watched.settled().await,
        }
    }

    /// What the server on this port writes from now on stays with it alone: its replicas have a
    /// password that nobody knows.
    pub async fn cut_replicas_off(&self, port: u16) {
        for redis in self.all() {
            if role(redis).await == ("slave".into(), Some(port)) {
                let words = ["CONFIG", "SET", "masterauth", "unknown"];
                redis.command::<()>(&words).await;
            }
        }
        // They come back at once, and are refused.
        let mut servers = self.all().iter();
        if let Some(primary) = servers.find(|redis| redis.port() == port) {
            let words = ["CLIENT", "KILL", "TYPE", "replica"];
            primary.command::<i64>(&words).await;
        }
    }

    /// Has another server take over from the one of this list, in order.
    pub async fn fail_over(&self, list: &str) {
        match &self.kind {
            Kind::One(_) => {}
            Kind::Cluster(cluster) => cluster.fail_over(list).await,
            Kind::Watched(watched) => {
                let before = watched.agreed().await.port();
                until("the sentinels have followed the order", || async {
                    watched.fail_over().await;
                    watched.agreed().await.port() != before
                })
                .await;
            }
        }
    }

    pub async fn move_slot(&self, list: &str, begin: First, end: First) {
        if let Kind::Cluster(cluster) = &self.kind {
            cluster.move_slot_in_order(list, begin, end).await;
        }
    }
}

/// `master` or `slave`, and of a replica the port of its primary.
async fn role(redis: &Redis) -> (String, Option<u16>) {
    let role: Vec<Value> = redis.command(&["ROLE"]).await;
    let port = role.get(2).cloned().map(redis::from_redis_value);
    let name = redis::from_redis_value_ref(&role[0]).expect("a word");
    (name, port.and_then(Result::ok))
}
