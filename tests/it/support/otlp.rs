//! A collector that reads OTLP with OpenTelemetry's own definitions, and keeps what it takes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Python with opentelemetry-proto, as `.ci/setup test` installs it.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/ci/otlp/bin/python");

pub struct Collector {
    child: Child,
    dir: TempDir,
    port: u16,
}

/// A span that has come.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first one of a trace.
    pub parent: String,
    pub attributes: BTreeMap<String, Value>,
    /// Trace and span of each, with a dash.
    pub links: Vec<String>,
    pub links_dropped: u64,
    /// As it came.
    pub whole: Value,
}

impl Collector {
    pub async fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let out = File::create(dir.path().join("requests")).expect("a file");
        let child = Command::new(PYTHON)
            .arg("tests/it/support/otlp.py")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(out)
            .spawn()
            .expect("opentelemetry-proto is installed by `.ci/setup test`");
        let mut collector = Self {
            child,
            dir,
            port: 0,
        };
        let began = Instant::now();
        while collector.port == 0 {
            let ended = collector.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the collector ended");
            assert!(began.elapsed() < Duration::from_secs(60), "no port");
            super::wait::pause().await;
            let lines = collector.lines();
            collector.port = lines
                .first()
                .and_then(|line| line.parse().ok())
                .unwrap_or(0);
        }
        collector
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests so far, each with `path`, `headers` and `request`.
    pub fn requests(&self) -> Vec<Value> {
        let lines = self.lines();
        let requests = lines.iter().skip(1);
        requests
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// The spans so far, in the order in which they came.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = vec![];
        for request in self.requests() {
            for resource in list(&request["request"], "resource_spans") {
                for scope in list(resource, "scope_spans") {
                    spans.extend(list(scope, "spans").iter().map(span));
                }
            }
        }
        spans
    }

    pub fn named(&self, name: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        spans
    }

    /// Whole lines only.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("requests")).expect("it can be read");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

fn span(whole: &Value) -> Span {
    let attributes = attributes(whole);
    let ids = attributes["ids"].as_str().expect("text");
    let mut ids = ids.split('-').map(str::to_owned);
    let mut next = || ids.next().expect("three ids");
    let links = list(whole, "links").iter();
    Span {
        name: whole["name"].as_str().expect("a name").to_owned(),
        trace: next(),
        id: next(),
        parent: next(),
        links: links
            .map(|link| {
                super::otlp::attributes(link)["ids"]
                    .as_str()
                    .expect("text")
                    .to_owned()
            })
            .collect(),
        links_dropped: whole["dropped_links_count"].as_u64().unwrap_or(0),
        attributes,
        whole: whole.clone(),
    }
}

/// Attributes of a span or a resource, by name; whole numbers as numbers.
pub fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for attribute in list(of, "attributes") {
        let value = &attribute["value"];
        let number = value["int_value"].as_str();
        let number = number.and_then(|text| text.parse::<i64>().ok());
        let plain = [&value["string_value"], &value["bool_value"]];
        let plain = plain.into_iter().find(|value| !value.is_null()).cloned();
        let value = number.map(Value::from).or(plain).unwrap_or_default();
        let name = attribute["key"].as_str().expect("a name");
        all.insert(name.to_owned(), value);
    }
    all
}
