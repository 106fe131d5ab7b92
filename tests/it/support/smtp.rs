//! A real mail server, aiosmtpd, which keeps what it takes.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Python with aiosmtpd, as `.ci/setup test` installs it.
pub const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/ci/smtp/bin/python");

pub struct MailServer {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl MailServer {
    pub async fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let out = File::create(dir.path().join("mails")).expect("a file");
        let child = Command::new(PYTHON)
            .arg("tests/it/support/smtp.py")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(out)
            .spawn()
            .expect("aiosmtpd is installed by `.ci/setup test`");
        let mut server = Self {
            child,
            dir,
            port: 0,
        };
        let began = Instant::now();
        while server.port == 0 {
            let ended = server.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the mail server ended");
            assert!(began.elapsed() < Duration::from_secs(60), "no port");
            super::wait::pause().await;
            let port = server.lines().first().and_then(|line| line.parse().ok());
            server.port = port.unwrap_or(0);
        }
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mails so far.
    pub fn mails(&self) -> Vec<Value> {
        let lines = self.lines();
        let mails = lines.iter().skip(1);
        mails
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Whole lines only.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("mails")).expect("it can be read");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
