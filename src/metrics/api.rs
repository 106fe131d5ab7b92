//! Metrics of the operator's API.

use prometheus::IntCounterVec;

use super::Registrar;

/// The label of what is no page, or of a method that the page does not know.
const OTHER: &str = "other";
/// First digits of a status.
const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// Metrics of the operator's API.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: IntCounterVec,
}

impl ApiMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            requests: new.counters(
                "mutt_remediation_api_requests_total",
                "Requests to the operator's API that were answered, by method, route and class of the status",
                &["method", "route", "status"],
            )?,
        };
        metrics.page(OTHER, OTHER);
        Ok(metrics)
    }

    /// Makes the labels of a page appear.
    pub fn page(&self, method: &str, route: &str) {
        for class in CLASSES {
            self.requests.with_label_values(&[method, route, class]);
        }
    }

    /// A request was answered. What is not known as a page of its own counts as `other`, so that
    /// nobody can make up labels.
    pub fn answered(&self, method: &str, route: Option<&str>, status: u16) {
        let method = if method == "HEAD" { "GET" } else { method };
        let route = match (method, route) {
            ("GET" | "PUT" | "POST" | "DELETE", Some(route)) => Some((method, route)),
            _ => None,
        };
        // A known route does not know every method.
        let route = route.filter(|_| status != 405);
        let (method, route) = route.unwrap_or((OTHER, OTHER));
        let class = match status {
            500.. => "5xx",
            400.. => "4xx",
            _ => "2xx",
        };
        self.requests
            .with_label_values(&[method, route, class])
            .inc();
    }
}
