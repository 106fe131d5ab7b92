//! A primary, its replicas and the sentinels that watch them, all real and on loopback.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

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

    /// The port of the primary, in its opinion, and how many replicas and other sentinels it knows.
    async fn view(&self) -> Option<(u16, usize, usize)> {
        let client = Client::open(("127.0.0.1", self.port)).expect("a good address");
        let mut line = client.get_multiplexed_async_connection().await.ok()?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("MASTER").arg(MASTER);
        let answer: std::collections::HashMap<String, String> =
            question.query_async(&mut line).await.ok()?;
        let number = |name: &str| answer.get(name)?.parse::<usize>().ok();
        let port = answer.get("port")?.parse().ok()?;
        Some((port, number("num-slaves")?, number("num-other-sentinels")?))
    }
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
    /// The primary keeps a log on disk, so that one can see afterwards what it had done.
    pub async fn start() -> Self {
        let quick = ["--repl-diskless-sync-delay", "0"];
        // The log is written before a client is answered, and not held up by a slow disk.
        let log = ["--appendonly", "yes", "--appendfsync", "no"];
        let primary = Redis::with(&[&quick[..], &log].concat());
        let port = primary.port().to_string();
        let follow = ["--appendonly", "no", "--replicaof", "127.0.0.1", &port];
        let replica = || Redis::with(&[&quick[..], &follow].concat());
        let servers = vec![primary, replica(), replica()];
        until("the replicas follow", || async {
            let info: String = servers[0].command(&["INFO", "replication"]).await;
            info.matches("state=online").count() == 2
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let mut sentinel = Sentinel::stopped(servers[0].port(), 2, &[]);
            sentinel.up().await;
            sentinels.push(sentinel);
        }
        let watched = Self { servers, sentinels };
        for sentinel in &watched.sentinels {
            until("the sentinels know each other", || async {
                sentinel.view().await == Some((watched.servers[0].port(), 2, 2))
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

    /// The server that the sentinels have made the primary in place of the first one.
    pub async fn successor(&self) -> &Redis {
        loop {
            let mut found = None;
            until("the sentinels have made a new primary", || async {
                let old = self.primary().port();
                matches!(self.sentinels[0].view().await, Some((port, _, _)) if port != old)
            })
            .await;
            if let Some((port, _, _)) = self.sentinels[0].view().await {
                found = self.servers.iter().find(|server| server.port() == port);
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

/// A sentinel that says always the same.
pub struct StuckSentinel {
    port: u16,
    asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl StuckSentinel {
    /// It names the server on this port.
    pub fn naming(port: u16) -> Self {
        use std::sync::atomic::Ordering;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let port = port.to_string();
            let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
            for line in listener.incoming() {
                let Ok(mut line) = line else { return };
                let mut question = [0; 1024];
                while let Ok(1..) = line.read(&mut question) {
                    count.fetch_add(1, Ordering::SeqCst);
                    if line.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        Self { port: own, asked }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }
}
