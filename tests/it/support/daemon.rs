//! The real binary, set up by its environment and watched through its ports and its log.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::redis::Redis;
use super::wait::until;

const BINARY: &str = env!("CARGO_BIN_EXE_mutt-remediation");

pub struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    /// A quick daemon on this server: a pass a second, all ports free ones.
    pub fn start(redis: &Redis, variables: &[(&str, &str)]) -> Self {
        let port = redis.port().to_string();
        let mut all = vec![("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)];
        all.extend(variables);
        Self::start_alone(&all)
    }

    pub fn start_alone(variables: &[(&str, &str)]) -> Self {
        Self::start_command(command(variables))
    }

    /// A quick daemon on this server that may have no more than so many files open.
    pub fn start_limited(redis: &Redis, open_files: u32) -> Self {
        let mut limited = Command::new("sh");
        let script = format!("ulimit -n {open_files} && exec \"$0\"");
        limited.args(["-c", &script, BINARY]);
        let port = redis.port().to_string();
        let variables = [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)];
        Self::start_command(with(limited, &variables))
    }

    fn start_command(mut command: Command) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = File::create(dir.path().join("log")).expect("a log");
        let errors = File::create(dir.path().join("errors")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the daemon starts");
        Self { child, dir }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("it can be read")
    }

    pub fn errors(&self) -> String {
        fs::read_to_string(self.dir.path().join("errors")).expect("it can be read")
    }

    /// The most memory that it has had, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
        let number = peak.expect("a peak").trim().trim_end_matches(" kB");
        number.parse().expect("a number")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub async fn until_logged(&self, text: &str) {
        until(
            &format!("the log says {text:?}; it says:\n{}", self.log()),
            || async { self.log().contains(text) },
        )
        .await;
    }

    /// The port of a listener, as the log tells it.
    pub async fn port(&self, listener: &str) -> u16 {
        let name = format!("{listener}=");
        self.until_logged(&name).await;
        let log = self.log();
        let address = log
            .split(&name)
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let port = address.and_then(|address| address.rsplit(':').next());
        port.and_then(|port| port.parse().ok()).expect("an address")
    }

    /// Status and body of a page.
    pub async fn get(&self, listener: &str, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port(listener).await);
        let answer = client().get(url).send().await.expect("it answers");
        (
            answer.status().as_u16(),
            answer.text().await.expect("a body"),
        )
    }

    /// The value of a sample, by its name with labels; `None` if it is not exposed.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("metrics", "/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    pub async fn until_metric(&self, name: &str, right: impl Fn(f64) -> bool) {
        until(&format!("{name} is right"), || async {
            self.metric(name).await.is_some_and(&right)
        })
        .await;
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.id().to_string()])
            .status();
        assert!(sent.expect("kill exists").success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        let began = std::time::Instant::now();
        while status.is_none() {
            status = child.try_wait().expect("it can be asked");
            assert!(began.elapsed() < Duration::from_secs(90), "it did not end");
            super::wait::pause().await;
        }
        status.expect("it ended")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}{}", self.log(), self.errors());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with these variables and no others.
pub fn command(variables: &[(&str, &str)]) -> Command {
    with(Command::new(BINARY), variables)
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("METRICS_PORT_REMEDIATION", "0")
        .env("HEALTH_PORT_REMEDIATION", "0")
        .env("API_PORT_REMEDIATION", "0")
        .env("REMEDIATION_INTERVAL", "1")
        .env("REMEDIATION_BATCH_PAUSE_MS", "0")
        .envs(variables.iter().copied());
    command
}

/// Runs the binary to its end.
pub fn output(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(variables)
        .args(arguments)
        .output()
        .expect("it runs")
}

/// Waits as long for an answer as only a hang takes.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .no_proxy()
        .build()
        .expect("a client")
}
