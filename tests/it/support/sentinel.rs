//! A primary, its replicas and the sentinels that watch them, all real and on loopback.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mutt_remediation::demo::server::free_port;
use redis::Client;
use tempfile::TempDir;

use super::redis::Redis;
use super::wait::{pause, until};

/// The name that the sentinels know the primary by.
pub const MASTER: &str = "mutt-primary";

/// One sentinel.
pub struct Sentinel {
    child: Option<Child>,
    dir: TempDir,
    port: u16,
}

impl Sentinel {
    /// A sentinel that is not running yet, and will watch the server on this port.
    pub fn stopped(primary: u16, quorum: usize, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port().expect("a free port");
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", dir.path().display()),
            format!("sentinel monitor {MASTER} 127.0.0.1 {primary} {quorum}"),
            format!("sentinel down-after-milliseconds {MASTER} 2000"),
            format!("sentinel failover-timeout {MASTER} 5000"),
            format!("sentinel parallel-syncs {MASTER} 2"),
        ];
        lines.extend(
            more.iter()
                .map(|line| line.replace("PORT", &port.to_string())),
        );
        if !more.iter().any(|line| line.starts_with("tls-port")) {
            lines.push(format!("port {port}"));
        }
        fs::write(dir.path().join("sentinel.conf"), lines.join("\n")).expect("written");
        Self {
            child: None,
            dir,
            port,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn up(&mut self) {
        let log = fs::File::create(self.dir.path().join("log")).expect("a log");
        let child = Command::new("redis-server")
            .arg(self.dir.path().join("sentinel.conf"))
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("redis-server is installed by `.ci/setup test`");
        self.child = Some(child);
        until("the sentinel listens", || async {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it thinks.
    async fn view(&self) -> Option<View> {
        let client = Client::open(("127.0.0.1", self.port)).expect("a good address");
        let mut line = client.get_multiplexed_async_connection().await.ok()?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("MASTER").arg(MASTER);
        let answer: std::collections::HashMap<String, String> =
            question.query_async(&mut line).await.ok()?;
        let number = |name: &str| answer.get(name)?.parse::<usize>().ok();
        let port = answer.get("port")?.parse().ok()?;
        Some(View {
            port,
            replicas: number("num-slaves")?,
            sentinels: number("num-other-sentinels")?,
            quiet: answer.get("flags")? == "master",
        })
    }
}

struct View {
    /// Of the primary.
    port: u16,
    replicas: usize,
    /// Other than itself.
    sentinels: usize,
    /// The primary is up, and nobody is about to replace it.
    quiet: bool,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One primary, two replicas and three sentinels that agree.
pub struct Watched {
    /// The first one is the primary at first.
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Sentinel>,
}

impl Watched {
    pub async fn start() -> Self {
        Self::with(&[], &[]).await
    }

    /// With further arguments for each server, and lines for each sentinel. The primary keeps a log
    /// on disk, so that one can see afterwards what it had done.
    pub async fn with(arguments: &[&str], lines: &[&str]) -> Self {
        let quick = ["--repl-diskless-sync-delay", "0"];
        // The log is written before a client is answered, and not held up by a slow disk.
        let log = ["--appendonly", "yes", "--appendfsync", "no"];
        let primary = Redis::with(&[&quick[..], &log, arguments].concat());
        let port = primary.port().to_string();
        let replica = || Redis::with(&[&quick[..], &["--appendonly", "no"], arguments].concat());
        let servers = vec![primary, replica(), replica()];
        // Not by an argument: one that has become the primary must still be it after a restart.
        for replica in &servers[1..] {
            let follow = ["REPLICAOF", "127.0.0.1", &port];
            replica.command::<()>(&follow).await;
        }
        until("the replicas follow", || async {
            let info: String = servers[0].command(&["INFO", "replication"]).await;
            info.matches("state=online").count() == 2
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let mut sentinel = Sentinel::stopped(servers[0].port(), 2, lines);
            sentinel.up().await;
            sentinels.push(sentinel);
        }
        let watched = Self { servers, sentinels };
        for sentinel in &watched.sentinels {
            until("the sentinels know each other", || async {
                let view = sentinel.view().await;
                view.is_some_and(|view| (view.replicas, view.sentinels) == (2, 2))
            })
            .await;
        }
        watched
    }

    pub fn primary(&self) -> &Redis {
        &self.servers[0]
    }

    /// For `REDIS_SENTINELS`.
    pub fn addresses(&self) -> String {
        let address = |sentinel: &Sentinel| format!("127.0.0.1:{}", sentinel.port());
        let addresses: Vec<String> = self.sentinels.iter().map(address).collect();
        addresses.join(",")
    }

    /// Cuts the replicas off the primary: what it writes from now on stays with it alone. The
    /// sentinels put that right only after many seconds.
    pub async fn cut_replicas_off(&self) {
        // Nothing listens on this port.
        let nowhere = free_port().expect("a port").to_string();
        for replica in &self.servers[1..] {
            let words = ["REPLICAOF", "127.0.0.1", &nowhere];
            replica.command::<()>(&words).await;
        }
    }

    /// The server that all sentinels name as the primary, once they do.
    pub async fn agreed(&self) -> &Redis {
        self.agreement().await.0
    }

    /// The same, and whether nobody is about to replace it.
    async fn agreement(&self) -> (&Redis, bool) {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(90), "no agreement");
            let mut named = HashSet::new();
            let mut quiet = true;
            for sentinel in &self.sentinels {
                let view = sentinel.view().await;
                quiet &= view.as_ref().is_some_and(|view| view.quiet);
                named.insert(view.map(|view| view.port));
            }
            let mut servers = self.servers.iter();
            let one = servers.find(|server| named.contains(&Some(server.port())));
            if let (Some(one), 1) = (one, named.len()) {
                return (one, quiet);
            }
            pause().await;
        }
    }

    /// Waits until the primary that the sentinels agree on has two replicas. A server that was a
    /// primary, and should follow, is told so; the sentinels would do it much later.
    pub async fn settled(&self) {
        let began = Instant::now();
        // Since when the sentinels have been content with this primary, though not all follow it.
        let mut since = (0, Instant::now());
        loop {
            let (primary, quiet) = self.agreement().await;
            let port = primary.port();
            let info = primary
                .try_command::<String>(&["INFO", "replication"])
                .await;
            let info = info.unwrap_or_default();
            let serves = quiet && info.contains("role:master");
            if serves && info.matches("state=online").count() == 2 {
                return;
            }
            if !serves || since.0 != port {
                since = (port, Instant::now());
            }
            // Right after a failover it looks the same.
            if since.1.elapsed() > Duration::from_secs(3) {
                for server in self.servers.iter().filter(|server| server.port() != port) {
                    let info: String = server.command(&["INFO", "replication"]).await;
                    if !info.contains(&format!("master_port:{port}\r")) {
                        let words = ["REPLICAOF", "127.0.0.1", &port.to_string()];
                        server.command::<()>(&words).await;
                    }
                }
                since.1 = Instant::now();
            }
            assert!(began.elapsed() < Duration::from_secs(90), "{info}");
            pause().await;
        }
    }

    /// Orders a failover; refused while there is one, or no replica is good enough.
    pub async fn fail_over(&self) {
        let client = Client::open(("127.0.0.1", self.sentinels[0].port));
        let client = client.expect("a good address");
        let line = client.get_multiplexed_async_connection().await;
        let mut order = redis::cmd("SENTINEL");
        order.arg("FAILOVER").arg(MASTER);
        let _ = order.query_async::<()>(&mut line.expect("it is up")).await;
    }

    /// The server that the sentinels have made the primary in place of the first one.
    pub async fn successor(&self) -> &Redis {
        loop {
            let mut found = None;
            until("the sentinels have made a new primary", || async {
                let old = self.primary().port();
                let view = self.sentinels[0].view().await;
                view.is_some_and(|view| view.port != old)
            })
            .await;
            if let Some(view) = self.sentinels[0].view().await {
                found = self
                    .servers
                    .iter()
                    .find(|server| server.port() == view.port);
            }
            if let Some(found) = found {
                let role: Vec<redis::Value> = found.command(&["ROLE"]).await;
                if role.first() == Some(&redis::Value::BulkString(b"master".to_vec())) {
                    return found;
                }
            }
            pause().await;
        }
    }
}
