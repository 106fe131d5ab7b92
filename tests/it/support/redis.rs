//! A redis-server of a test's own, which can be killed and started again on the same data.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mutt_remediation::demo::server::free_port;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tempfile::TempDir;

pub const SOURCE: &str = "mutt:dlq:alerter";
pub const TARGET: &str = "mutt:ingest_queue";
pub const DEAD: &str = "mutt:dlq:dead";

pub struct Redis {
    child: Option<Child>,
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Redis {
    /// A server without persistence.
    pub fn start() -> Self {
        Self::with(&["--appendonly", "no"])
    }

    /// A server with these arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let mut redis = Self::stopped(arguments);
        redis.up();
        redis
    }

    /// A server that was started from a file, so that it can write down what was changed since.
    pub fn with_a_file(arguments: &[&str]) -> Self {
        let mut redis = Self::stopped(arguments);
        std::fs::write(redis.file(), "").expect("written");
        redis.up();
        redis
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("redis.conf")
    }

    /// A server that is not running yet.
    pub fn stopped(arguments: &[&str]) -> Self {
        Self {
            child: None,
            dir: tempfile::tempdir().expect("a directory"),
            port: free_port().expect("a free port"),
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
        }
    }

    /// Starts it, on the data that it had.
    pub fn up(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).expect("a log");
        let plain = !self.arguments.iter().any(|argument| argument == "--port");
        let port = self.port.to_string();
        let ports: &[&str] = if plain { &["--port", &port] } else { &[] };
        let child = Command::new("redis-server")
            .args(Some(self.file()).filter(|file| file.exists()))
            .args(ports)
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendfsync",
                "everysec",
                "--dir",
            ])
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("redis-server is installed by `.ci/setup test`");
        self.child = Some(child);
        let began = Instant::now();
        while !self.answers() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "redis-server did not come up"
            );
            std::thread::yield_now();
        }
    }

    /// Whether it takes commands: not while it still reads its log from disk.
    fn answers(&self) -> bool {
        let mut answer = [0; 8];
        let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).and_then(|mut line| {
            line.write_all(b"PING\r\n")?;
            line.read_exact(&mut answer[..5])
        });
        asked.is_ok() && !answer.starts_with(b"-LOAD")
    }

    /// Sends it a signal, such as `-STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([name, &id]).status();
        assert!(sent.expect("kill exists").success());
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn connect(&self) -> MultiplexedConnection {
        self.connect_to(&format!("redis://127.0.0.1:{}", self.port))
            .await
    }

    pub async fn connect_to(&self, url: &str) -> MultiplexedConnection {
        let patient =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
        let client = Client::open(url).expect("a good address");
        let began = Instant::now();
        loop {
            match client
                .get_multiplexed_async_connection_with_config(&patient)
                .await
            {
                Ok(connection) => return connection,
                Err(error) => {
                    assert!(began.elapsed() < Duration::from_secs(10), "{error}");
                    super::wait::pause().await;
                }
            }
        }
    }

    /// Sends one command on a new connection.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).await.expect("the command works")
    }

    pub async fn try_command<T: redis::FromRedisValue>(
        &self,
        words: &[&str],
    ) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connect().await).await
    }

    /// Dead-letters messages: the first is the oldest.
    pub async fn dead_letter<B: AsRef<[u8]>>(&self, messages: &[B]) {
        self.push(SOURCE, messages).await;
    }

    pub async fn push<B: AsRef<[u8]>>(&self, list: &str, messages: &[B]) {
        let mut connection = self.connect().await;
        for part in messages.chunks(1_000) {
            let bodies: Vec<&[u8]> = part.iter().map(AsRef::as_ref).collect();
            let _: usize = redis::cmd("LPUSH")
                .arg(list)
                .arg(bodies)
                .query_async(&mut connection)
                .await
                .expect("it is pushed");
        }
    }

    /// Waits until a replica has all that was written so far. `WAIT` tells only on Redis 7.0: later
    /// servers wait for what came on the same connection.
    pub async fn until_replicated(&self) {
        let question = ["INFO", "replication"];
        let info: String = self.command(&question).await;
        let written = numbers(&info, "master_repl_offset:").next();
        super::wait::until("a replica has it", || async {
            let info: String = self.command(&question).await;
            let replicas = info.lines().filter(|line| line.contains("state=online"));
            for port in replicas.flat_map(|line| numbers(line, "port=")) {
                let address = format!("redis://127.0.0.1:{port}");
                let line = &mut self.connect_to(&address).await;
                let mut info = redis::cmd("INFO");
                info.arg("replication");
                let info: String = info.query_async(line).await.expect("it answers");
                if numbers(&info, "slave_repl_offset:").next() >= written {
                    return true;
                }
            }
            false
        })
        .await;
    }

    /// A whole list, oldest first.
    pub async fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = self.command(&["LRANGE", name, "0", "-1"]).await;
        all.reverse();
        all
    }

    pub async fn texts(&self, name: &str) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.list(name).await.into_iter().map(text).collect()
    }

    pub async fn len(&self, name: &str) -> usize {
        self.command(&["LLEN", name]).await
    }
}

/// The numbers behind a name.
fn numbers(text: &str, name: &str) -> impl Iterator<Item = u64> {
    text.split(name).skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    })
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
