//! Chromium and its driver: two processes, a profile of their own, and what is said on the wire.
//!
//! The few calls of WebDriver that the tests need are made by hand: `thirtyfour` brings fourteen
//! crates for them, and `fantoccini` older versions of four that are here already.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What a slow machine may take for anything that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The moment between two looks: each is work for four processes.
const MOMENT: Duration = Duration::from_millis(50);

pub struct Driver {
    child: Child,
    chromium: Option<u32>,
    /// Where the session is asked.
    session: String,
    client: reqwest::Client,
    /// The profile, and whatever else is left lying about.
    dir: TempDir,
}

impl Driver {
    /// Starts both, with these preferences, and with these kinds of events noted.
    pub async fn with(preferences: Value, logs: Value) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = File::create(dir.path().join("driver")).expect("a log");
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", dir.path())
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed by `.ci/setup test`");
        let mut driver = Self {
            child,
            chromium: None,
            session: String::new(),
            client: client(),
            dir,
        };
        driver.begin(preferences, logs).await;
        driver
    }

    async fn begin(&mut self, preferences: Value, logs: Value) {
        let profile = self.dir.path().join("profile");
        let asked = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": logs,
            "goog:chromeOptions": {
                "prefs": preferences,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    "--disable-breakpad", "--disable-component-update", "--lang=en-GB",
                    "--hide-scrollbars", "--window-size=1280,900",
                    format!("--user-data-dir={}", profile.display()),
                ],
            },
        }}});
        self.session = format!("http://127.0.0.1:{}/session", self.port().await);
        let session = self.ask("POST", "", &asked).await;
        let session = session.expect("chromium starts; it is installed by `.ci/setup test`");
        let id = session["sessionId"].as_str().expect("an id");
        self.session.push_str(&format!("/{id}"));
        let chromium = session["capabilities"]["goog:processID"].as_u64();
        self.chromium = Some(u32::try_from(chromium.expect("a process")).expect("an id"));
    }

    /// The free port that it has chosen.
    async fn port(&self) -> u16 {
        let began = Instant::now();
        loop {
            let log = fs::read_to_string(self.dir.path().join("driver")).expect("a log");
            let after = log.split("successfully on port ").nth(1);
            if let Some((port, _)) = after.and_then(|text| text.split_once('.')) {
                return port.parse().expect("a port");
            }
            assert!(began.elapsed() < PATIENCE, "chromedriver says:\n{log}");
            pause().await;
        }
    }

    /// Asks for this path of the session.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let method = method.parse().expect("a method");
        let url = format!("{}{path}", self.session);
        let request = self.client.request(method, url);
        let request = if body.is_null() {
            request
        } else {
            request.json(body)
        };
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let well = answer.status().is_success();
        let mut told: Value = answer.json().await.map_err(|error| format!("{error:?}"))?;
        let value = told["value"].take();
        if well {
            Ok(value)
        } else {
            Err(value.to_string())
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(chromium) = self.chromium {
            // It ends its own processes, and then nobody writes into the profile any more.
            let _ = signal("-TERM", chromium);
            let began = Instant::now();
            while Path::new(&format!("/proc/{chromium}")).exists() {
                if began.elapsed() > Duration::from_secs(10) {
                    let _ = signal("-KILL", chromium);
                    break;
                }
                std::thread::yield_now();
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, process: u32) -> std::io::Result<Child> {
    let mut kill = Command::new("kill");
    kill.args([name, &process.to_string()])
        .stderr(Stdio::null())
        .spawn()
}

pub async fn pause() {
    tokio::time::sleep(MOMENT).await;
}

/// As patient as a page that loads on a busy machine.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(2 * PATIENCE).no_proxy();
    client.build().expect("a client")
}
