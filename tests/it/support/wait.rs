//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Waits until the condition holds; after 90 seconds, which only a hang takes, it panics and names what was waited for.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "waited in vain until {what}"
        );
        pause().await;
    }
}

/// The moment between two looks.
pub async fn pause() {
    tokio::time::interval_at(
        tokio::time::Instant::now() + Duration::from_millis(10),
        Duration::from_millis(10),
    )
    .tick()
    .await;
}
