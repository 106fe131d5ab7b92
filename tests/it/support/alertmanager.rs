//! A real Alertmanager, which tells nobody.

use std::process::{Child, Command, Stdio};

use mutt_remediation::demo::server::free_port;
use serde_json::Value;
use tempfile::TempDir;

use super::daemon::client;
use super::wait::until;

const CONFIG: &str = "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n";

pub struct Alertmanager {
    child: Child,
    _dir: TempDir,
    port: u16,
}

impl Alertmanager {
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// One whose configuration has this too.
    pub async fn start_with(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("alertmanager.yml");
        std::fs::write(&config, format!("{CONFIG}{more}")).expect("written");
        let port = free_port().expect("a port");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager is installed by `.ci/setup test`");
        let alertmanager = Self {
            child,
            _dir: dir,
            port,
        };
        until("Alertmanager is ready", || async {
            let url = format!("http://127.0.0.1:{port}/-/ready");
            let answer = client().get(url).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        alertmanager
    }

    /// Its address as the setting has it.
    pub fn url(&self) -> String {
        format!("alertmanager+http://127.0.0.1:{}/", self.port)
    }

    /// The address of a page.
    pub fn page(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The alerts that fire now.
    pub async fn alerts(&self) -> Vec<Value> {
        let url = self.page("/api/v2/alerts");
        let answer = client().get(url).send().await.expect("it answers");
        let text = answer.text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The alert of this event, if it fires.
    pub async fn alert(&self, event: &str) -> Option<Value> {
        let alerts = self.alerts().await;
        alerts
            .into_iter()
            .find(|alert| alert["labels"]["event"] == event)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
