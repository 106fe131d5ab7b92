//! The operator's API, as its users and its enemies meet it.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::daemon::client;
use crate::support::{Daemon, Redis};

mod access;
mod acts;
mod limits;
mod pages;

const KEY: &str = "the-operators-own-key";
const READ_KEY: &str = "the-readers-own-key";
/// A daemon that drains nothing, so that what lies in a list lies still.
const KEYED: [(&str, &str); 3] = [
    ("REMEDIATION_ENABLED", "false"),
    ("REMEDIATION_API_KEY", KEY),
    ("REMEDIATION_API_READ_KEY", READ_KEY),
];

/// Somebody who asks the API of a daemon.
struct Asker {
    base: String,
    address: SocketAddr,
    key: Option<&'static str>,
    client: Client,
}

impl Asker {
    async fn of(daemon: &Daemon) -> Self {
        Self::with(daemon, Some(KEY)).await
    }

    async fn with(daemon: &Daemon, key: Option<&'static str>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], daemon.port("api").await));
        Self {
            base: format!("http://{address}/api/v1"),
            address,
            key,
            client: client(),
        }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answered(self.ask(Method::GET, path)).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        answered(self.ask(Method::DELETE, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answered(self.ask(Method::POST, path).json(body)).await
    }

    async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        answered(self.ask(Method::PUT, path).json(body)).await
    }

    /// Every page and its methods, as the document tells them, with something in place of each name.
    async fn pages(&self) -> Vec<(Method, String)> {
        let (status, document) = self.get("/openapi.json").await;
        assert_eq!(status, 200);
        let mut pages = vec![];
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys() {
                let path = path.strip_prefix("/api/v1").expect("the base");
                let path = path
                    .replace("{queue}", "alerter")
                    .replace("{digest}", &"0".repeat(40))
                    .replace("{original}", "1-1")
                    .replace("{run}", "none")
                    .replace("{key}", "remediation_interval");
                assert!(!path.contains('{'), "{path}");
                pages.push((method.to_uppercase().parse().expect("a method"), path));
            }
        }
        assert!(pages.len() > 20, "{pages:?}");
        pages
    }

    /// Sends these bytes and nothing more, and reads until the other side closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut line = TcpStream::connect(self.address).await.expect("connected");
        // It may be refused, and closed, before all of it is sent.
        let _ = line.write_all(bytes).await;
        let mut answer = vec![];
        let _ = line.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The status, and the body; a refusal must be a problem.
async fn answered(request: RequestBuilder) -> (u16, Value) {
    // A look at 100,000 messages takes its time where much else is going on.
    let patient = request.timeout(Duration::from_secs(60));
    judged(patient.send().await.expect("it answers")).await
}

async fn judged(response: Response) -> (u16, Value) {
    let status = response.status();
    let headers = response.headers().clone();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(headers[name], value, "{headers:?}");
    }
    let text = response.text().await.expect("a body");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("JSON: {text}"));
    if status.is_success() {
        assert_eq!(headers["content-type"], "application/json");
    } else {
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["type"], "about:blank");
        for member in ["title", "detail"] {
            assert!(body[member].is_string(), "{body}");
        }
    }
    (status.as_u16(), body)
}

fn letter(number: usize) -> String {
    format!(
        r#"{{"hostname":"sw{}","timestamp":1700000000,"message":"m{number}","_retry_count":4}}"#,
        number % 3
    )
}

async fn with_letters(count: usize) -> (Redis, Daemon) {
    let redis = Redis::start();
    let letters: Vec<String> = (0..count).map(letter).collect();
    if count > 0 {
        redis.dead_letter(&letters).await;
    }
    let daemon = Daemon::start(&redis, &KEYED);
    (redis, daemon)
}
