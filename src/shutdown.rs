//! Signals: the first asks for an orderly end, the second for an immediate one.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGTERM, SIGINT and SIGHUP (a terminal that goes away), caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to catch the signals.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Cancels the token at the first signal, and returns at the second.
    pub async fn watch(mut self, shutdown: CancellationToken) {
        let first = self.next().await;
        tracing::info!(
            signal = first,
            "shutting down, a second signal ends at once"
        );
        shutdown.cancel();
        let second = self.next().await;
        tracing::warn!(signal = second, "second signal, ending at once");
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}
