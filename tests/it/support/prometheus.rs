//! A real Prometheus, which can be killed and started again on the same data.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use mutt_remediation::demo::server::free_port;
use serde_json::Value;
use tempfile::TempDir;

use super::daemon::client;
use super::wait::until;

pub struct Prometheus {
    child: Option<Child>,
    dir: TempDir,
    port: u16,
    /// What its listener asks of its clients.
    web: String,
}

impl Prometheus {
    /// One that scrapes these jobs on loopback once a second, each by its name and port, and evaluates
    /// these rule files, each by its name and text.
    pub async fn start(jobs: &[(&str, u16)], rules: &[(&str, &str)]) -> Self {
        let mut prometheus = Self::stopped(jobs, rules);
        prometheus.up().await;
        prometheus
    }

    /// The same, not running yet.
    pub fn stopped(jobs: &[(&str, u16)], rules: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = String::from(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
             rule_files: ['rules/*.yml']\nscrape_configs:\n",
        );
        for (job, port) in jobs {
            config += &format!(
                "  - {{job_name: {job}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
            );
        }
        fs::write(dir.path().join("prometheus.yml"), config).expect("written");
        fs::create_dir(dir.path().join("rules")).expect("a directory");
        for (name, text) in rules {
            let path = dir.path().join("rules").join(name).with_extension("yml");
            fs::write(path, text).expect("written");
        }
        Self {
            child: None,
            dir,
            port: free_port().expect("a port"),
            web: String::new(),
        }
    }

    /// Has its listener ask for this, before it is started: the text of its web configuration.
    pub fn guarded_by(&mut self, web: &str) {
        web.clone_into(&mut self.web);
    }

    /// Gives it a past, before it is started: samples in the OpenMetrics format.
    pub fn fill(&self, samples: &str) {
        let file = self.dir.path().join("past");
        fs::write(&file, samples).expect("written");
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "--quiet", "openmetrics"])
            .args([&file, &self.dir.path().join("data")])
            .output()
            .expect("promtool is installed by `.ci/setup test`");
        assert!(made.status.success(), "{made:?}");
    }

    /// Starts it, on the data that it had, and waits until it answers.
    pub async fn up(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let log = File::create(path("log")).expect("a log");
        fs::write(path("web.yml"), &self.web).expect("written");
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                path("prometheus.yml").display()
            ))
            .arg(format!("--web.config.file={}", path("web.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed by `.ci/setup test`");
        self.child = Some(child);
        let log = || fs::read_to_string(path("log")).unwrap_or_default();
        let url = format!("{}/-/ready", self.url());
        until(
            &format!("Prometheus is ready; it says {}", log()),
            || async {
                // Where it asks who we are, its log has to do.
                if !self.web.is_empty() {
                    return log().contains("Server is ready to receive web requests");
                }
                let answer = client().get(&url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            },
        )
        .await;
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The whole answer to an instant query: `status`, and `data` or `error`.
    pub async fn answer(&self, query: &str) -> Value {
        let page = format!("{}/api/v1/query", self.url());
        let url = url::Url::parse_with_params(&page, [("query", query)]).expect("an address");
        let asked = client().get(url).send().await;
        let text = asked.expect("it answers").text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The whole answer to a query over a stretch of time, in Unix seconds.
    pub async fn range(&self, query: &str, (from, to): (i64, i64), step: i64) -> Value {
        let page = format!("{}/api/v1/query_range", self.url());
        let numbers = [("start", from), ("end", to), ("step", step)];
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        let pairs = numbers.iter().map(|(name, text)| (*name, text.as_str()));
        let pairs = pairs.chain([("query", query)]);
        let url = url::Url::parse_with_params(&page, pairs).expect("an address");
        let asked = client().get(url).send().await;
        let text = asked.expect("it answers").text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The values that an instant query finds now.
    pub async fn values(&self, query: &str) -> Vec<f64> {
        let answer = self.answer(query).await;
        let found = answer["data"]["result"].as_array();
        let found = found.unwrap_or_else(|| panic!("{query}: {answer}"));
        let value = |series: &Value| {
            series["value"][1]
                .as_str()
                .and_then(|text| text.parse().ok())
        };
        found
            .iter()
            .map(|series| value(series).expect("a number"))
            .collect()
    }

    /// Waits until a query finds anything.
    pub async fn until_found(&self, query: &str) {
        until(&format!("Prometheus finds {query}"), || async {
            !self.values(query).await.is_empty()
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}
