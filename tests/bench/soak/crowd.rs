//! Those who come and go: scrapers, probes, pages, streams, and connections that make no sense.

use std::time::Duration;

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::worker::Seen;
use super::{Clock, What};

/// Pages of the console and the API, which are read one after the other.
const PAGES: [&str; 20] = [
    "/console/",
    "/api/v1/status",
    "/console/history",
    "/console/queues/alerter",
    "/api/v1/queues/syslog",
    "/console/slo",
    "/api/v1/slo",
    "/console/slo/history",
    "/api/v1/queues/web/messages?limit=20",
    "/console/dead",
    "/api/v1/queues/dead/export",
    "/console/runs",
    "/api/v1/runs",
    "/console/audit",
    "/api/v1/audit",
    "/console/settings",
    "/api/v1/settings",
    "/console/queues/dead/counts",
    "/console/nothing",
    "/api/v1/openapi.json",
];
/// Streams of the console, which never end.
const STREAMS: [&str; 3] = [
    "/console/live/overview",
    "/console/live/slo",
    "/console/live/queues/alerter",
];
/// Longest stay; it is shorter than the calm part of a round.
const STAY: Duration = Duration::from_millis(1_500);

/// They come while it is not calm, ten a second.
pub async fn come_and_go(worker: Seen, clock: Clock) {
    let client = Client::builder()
        .timeout(STAY)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .expect("a client");
    let mut visits = JoinSet::new();
    for number in 0_usize.. {
        while visits.try_join_next().is_some() {}
        if clock.over() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        if clock.calm() {
            continue;
        }
        let port = worker.ports.api;
        match number % 5 {
            0 => {
                visits.spawn(page(client.clone(), port, PAGES[number / 5 % PAGES.len()]));
                clock.mark(What::Request);
            }
            1 => {
                visits.spawn(page(
                    client.clone(),
                    port,
                    STREAMS[number / 5 % STREAMS.len()],
                ));
                clock.mark(What::Request);
            }
            2 => {
                visits.spawn(page(client.clone(), worker.ports.health, "/health"));
                visits.spawn(page(client.clone(), worker.ports.health, "/ready"));
                clock.mark(What::Request);
            }
            other => {
                let ports = [worker.ports.metrics, worker.ports.health, port];
                let words: [&[u8]; 5] = [
                    b"",
                    b"GET /heal",
                    b"POST /api/v1/runs HTTP/1.1\r\ncontent-length: 90\r\n\r\n{",
                    b"\x16\x03\x01\x00\xa5\x01",
                    b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n",
                ];
                let word = words[number / 5 % words.len()];
                visits.spawn(connection(ports[(number + other) % ports.len()], word));
                clock.mark(What::Connection);
            }
        }
    }
    while visits.join_next().await.is_some() {}
}

async fn page(client: Client, port: u16, path: &str) {
    let url = format!("http://127.0.0.1:{port}{path}");
    if let Ok(answer) = client.get(url).send().await {
        let _ = answer.bytes().await;
    }
}

/// Says this, listens for a while without care, and is gone.
async fn connection(port: u16, word: &[u8]) {
    if let Ok(mut line) = TcpStream::connect(("127.0.0.1", port)).await {
        let _ = line.write_all(word).await;
        let _ = timeout(STAY, line.read_to_end(&mut vec![])).await;
    }
}
