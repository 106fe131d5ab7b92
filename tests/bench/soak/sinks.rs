//! What takes notifications and traces: it counts them, and refuses them for a while now and then.
//! Beside them MUTT's own services as Prometheus sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Clock;

#[derive(Clone)]
pub struct Sinks {
    port: u16,
    notices: Arc<AtomicU64>,
    traces: Arc<AtomicU64>,
    away: Arc<AtomicBool>,
    _server: Arc<JoinSet<()>>,
}

impl Sinks {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (notices, traces) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let away = Arc::<AtomicBool>::default();
        let routes = Router::new()
            .route("/hook", taking(notices.clone(), away.clone()))
            .route("/v1/traces", taking(traces.clone(), away.clone()));
        let (good, bad) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let refused = away.clone();
        let routes = routes.route(
            "/metrics",
            get(move || {
                good.fetch_add(100, Ordering::Relaxed);
                let more = u64::from(refused.load(Ordering::Relaxed)) * 10;
                let bad = bad.fetch_add(more, Ordering::Relaxed);
                std::future::ready(metrics(good.load(Ordering::Relaxed), bad))
            }),
        );
        let mut server = JoinSet::new();
        server.spawn(async { axum::serve(listener, routes).await.expect("it serves") });
        Self {
            port,
            notices,
            traces,
            away,
            _server: Arc::new(server),
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Notifications and batches of spans that were taken.
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.notices), count(&self.traces))
    }

    /// Takes for nine seconds and refuses for three, until the clock is over.
    pub async fn falter(self, clock: Clock) {
        while !clock.over() {
            sleep(Duration::from_secs(9)).await;
            self.away.store(true, Ordering::Relaxed);
            sleep(Duration::from_secs(3)).await;
            self.away.store(false, Ordering::Relaxed);
        }
    }
}

fn taking(counter: Arc<AtomicU64>, away: Arc<AtomicBool>) -> MethodRouter {
    post(move |_: Bytes| {
        let refused = away.load(Ordering::Relaxed);
        counter.fetch_add(u64::from(!refused), Ordering::Relaxed);
        std::future::ready(if refused {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        })
    })
}

/// Counters of MUTT; some of its requests fail while all is refused.
fn metrics(good: u64, bad: u64) -> String {
    let mut text = format!("mutt_alerter_events_processed_total{{status=\"ok\"}} {good}\n");
    for service in ["ingest", "moog"] {
        text += &format!(
            "mutt_{service}_requests_total{{status=\"success\"}} {good}\n\
             mutt_{service}_requests_total{{status=\"fail\"}} {bad}\n"
        );
    }
    text
}
