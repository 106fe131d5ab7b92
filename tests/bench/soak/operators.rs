//! People who look, and who know better than the worker.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::worker::Seen;
use super::{Clock, What};

struct Operator {
    client: Client,
    base: String,
}

/// An act a second, while it is not calm.
pub async fn act(worker: Seen, clock: Clock) {
    let client = Client::builder()
        .timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(0)
        .no_proxy();
    let operator = Operator {
        client: client.build().expect("a client"),
        base: format!("http://127.0.0.1:{}/api/v1", worker.ports.api),
    };
    for number in 0_u32.. {
        sleep(Duration::from_millis(1_100)).await;
        if clock.over() {
            return;
        }
        if clock.calm() {
            continue;
        }
        let done = match number % 8 {
            0 => operator.run("dead", "restore").await,
            1 => operator.run("syslog", "replay").await,
            2 => operator.first("web", "bury").await,
            3 => {
                let pause = json!({"reason": "the soak", "seconds": 2});
                let path = "/queues/snmp/pause";
                operator.ask(Method::PUT, path, &pause).await
            }
            4 => operator.run("web.dead", "restore").await,
            5 => operator.first("alerter", "replay").await,
            6 => {
                let path = "/settings/replay_max_per_second";
                let setting = json!({"value": "100", "seconds": 2});
                operator.ask(Method::PUT, path, &setting).await
            }
            _ => {
                let path = "/queues/snmp/pause";
                operator.ask(Method::DELETE, path, &Value::Null).await
            }
        };
        if done.is_some() {
            clock.mark(What::Act);
        }
    }
}

impl Operator {
    /// The answer, if it was a good one: what is asked may be refused while Redis is away.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = if body.is_null() {
            request
        } else {
            request.json(body)
        };
        let answer = request.send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        Some(answer.json().await.unwrap_or_default())
    }

    /// Plans this for up to 40 messages, and has it run.
    async fn run(&self, queue: &str, action: &str) -> Option<Value> {
        let path = format!("/queues/{queue}/plans");
        let plan = json!({"action": action, "limit": 40, "force": true});
        let plan = self.ask(Method::POST, &path, &plan).await?;
        let run = json!({"token": plan["token"], "seconds": 3});
        self.ask(Method::POST, "/runs", &run).await
    }

    /// Does this to the first message that a page shows.
    async fn first(&self, queue: &str, action: &str) -> Option<Value> {
        let path = format!("/queues/{queue}/messages?limit=5");
        let page = self.ask(Method::GET, &path, &Value::Null).await?;
        let digest = page["messages"].get(0)?["digest"].clone();
        let act = json!({"action": action, "messages": [{"digest": digest}], "force": true});
        let path = format!("/queues/{queue}/acts");
        self.ask(Method::POST, &path, &act).await
    }
}
