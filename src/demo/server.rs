//! A throw-away redis-server on a free port of this machine, gone when it is dropped.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::Context;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The programs that will do, in the order of preference.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    /// Starts a server that keeps its files in `dir`, and waits until it answers.
    ///
    /// # Errors
    /// When there is no such program, or it does not come up.
    pub async fn start(dir: &Path, port: u16, arguments: &[&str]) -> anyhow::Result<Self> {
        let child = PROGRAMS
            .iter()
            .find_map(|program| spawn(program, dir, port, arguments).transpose())
            .context("neither redis-server nor valkey-server is installed: install one, e.g. with apt-get install redis-server")?
            .context("redis-server cannot be started")?;
        let mut server = Self { child, port };
        timeout(Duration::from_secs(10), server.until_up())
            .await
            .context("redis-server did not come up")??;
        Ok(server)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = Client::open((Ipv4Addr::LOCALHOST.to_string(), self.port))?;
        client.get_multiplexed_async_connection().await
    }

    /// Ends it and waits for its end.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub async fn stop(mut self) -> std::io::Result<()> {
        self.child.kill().await
    }

    async fn until_up(&mut self) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("redis-server ended at once: {status}");
            }
            if self.connect().await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Starts the program; `None` when it is not installed.
fn spawn(
    program: &str,
    dir: &Path,
    port: u16,
    arguments: &[&str],
) -> anyhow::Result<Option<Child>> {
    let started = Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C at the terminal is for the demo, which then ends the server in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    match started {
        Ok(child) => Ok(Some(child)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A port that nobody listens on.
/// No port is handed out twice by one process until all have had their turn, so that two servers that
/// start at once do not meet.
///
/// # Errors
/// When there is none.
pub fn free_port() -> std::io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
    for _ in PORTS {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(first);
        let port = PORTS.start + turn % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Below those that Linux gives to outgoing connections, which could take one that was found free.
const PORTS: Range<u16> = 20_000..32_000;
