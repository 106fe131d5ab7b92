//! Receivers that hang, drip and flood, beside a drain that does not notice.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::support::TARGET;

/// A mail server that greets without end.
struct Flood {
    port: u16,
    lines: Arc<AtomicUsize>,
}

impl Flood {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let lines = Arc::new(AtomicUsize::new(0));
        let count = lines.clone();
        std::thread::spawn(move || {
            for line in listener.incoming() {
                let Ok(mut line) = line else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let _ = line.write_all(b"220-");
                let much = vec![b'x'; 64 * 1024];
                while line.write_all(&much).is_ok() {}
                let _ = line.read(&mut [0; 1024]);
            }
        });
        Self { port, lines }
    }

    fn lines(&self) -> usize {
        self.lines.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn receivers_that_hang_drip_and_flood_cost_the_drain_nothing_and_little_memory() {
    let redis = Redis::start();
    let parked: Vec<String> = (0..100).map(|i| format!("poison {i}")).collect();
    redis.dead_letter(&parked).await;
    let manners = [
        Manner::Hang,
        Manner::Drip,
        Manner::EndlessBody,
        Manner::Hang,
    ];
    let schemes = ["webhook", "slack", "webhook", "alertmanager"];
    let mut receivers = vec![];
    for manner in manners {
        receivers.push(Webhook::start(manner).await);
    }
    let flood = Flood::start();
    let mut urls: Vec<String> = schemes
        .iter()
        .zip(&receivers)
        .map(|(scheme, receiver)| url(scheme, receiver))
        .collect();
    urls.push(format!(
        "smtp://127.0.0.1:{}/?from=a@example.org&to=b@example.org",
        flood.port
    ));
    let daemon = daemon(
        &redis,
        &urls.join(","),
        &[
            ("NOTIFY_POISON_PER_MINUTE", "10"),
            ("REMEDIATION_BATCH_SIZE", "100"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ],
    );
    until("all of them have been asked", || async {
        receivers
            .iter()
            .all(|receiver| !receiver.requests().is_empty())
            && flood.lines() > 0
    })
    .await;
    // Each of them keeps a message by now, and none has answered.
    let letters: Vec<String> = (0..5_000)
        .map(|i| format!(r#"{{"n":{i},"_retry_count":4}}"#))
        .collect();
    redis.dead_letter(&letters).await;
    until("all are replayed", || async {
        redis.len(TARGET).await == 5_000
    })
    .await;
    assert_eq!(redis.len(crate::support::DEAD).await, 100);
    daemon.until_logged("the server answers without end").await;
    daemon.until_logged("no answer within 10 s").await;
    for (listener, page) in [("health", "/health"), ("health", "/ready")] {
        assert_eq!(daemon.get(listener, page).await.0, 200, "{page}");
    }
    let peak = daemon.peak_memory_kib();
    assert!(peak < 64 * 1024, "{peak} KiB");
    let sent = daemon
        .metric(&counted("slack", "poison_rate", "sent"))
        .await;
    assert_eq!(sent, Some(0.0));
    // A body without end is not read, so that only the status counts.
    assert!(daemon.log().contains("answered 500"), "{}", daemon.log());
}
