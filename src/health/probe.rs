//! Asks Moogsoft over HTTP whether it takes events.
//!
//! Each probe is a connection of its own: a kept one would say nothing about new ones, and would
//! stick to one pod behind a service. Only the status line counts; the body is never read.

use std::time::Duration;

use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::Unhealthy;
use crate::clean;
use crate::trace::Span;
use crate::trace::parent::TRACEPARENT;

/// Where and how to probe.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// `http` or `https` address of the webhook.
    pub url: url::Url,
    /// Longest wait for the status line.
    pub timeout: Duration,
    /// Sent as `X-API-Key`.
    pub api_key: Option<SecretString>,
}

/// The probe's HTTP client.
#[derive(Debug)]
pub struct Probe {
    config: ProbeConfig,
    client: reqwest::Client,
}

/// The event that Moogsoft is sent; it is marked so that it closes itself.
#[derive(Serialize)]
struct Event {
    source: &'static str,
    description: &'static str,
    severity: &'static str,
    check_id: String,
    timestamp: String,
}

impl Probe {
    /// A probe of the configured webhook.
    ///
    /// # Errors
    /// When the system's certificate store cannot be used.
    pub fn new(config: ProbeConfig) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("mutt-remediation/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { config, client })
    }

    /// Sends one probe, within a span that it tells Moogsoft of.
    ///
    /// # Errors
    /// What makes Moogsoft count as unhealthy, within the timeout.
    pub async fn ask(&self, span: &Span) -> Result<(), Unhealthy> {
        let now = jiff::Timestamp::now();
        let event = Event {
            source: "MUTT_HEALTH_CHECK",
            description: "Health check probe - auto-close",
            severity: "clear",
            check_id: format!("health_check_{}", now.as_second()),
            timestamp: format!("{now:.0}"),
        };
        let mut request = self.client.post(self.config.url.clone()).json(&event);
        if let Some(key) = &self.config.api_key {
            request = request.header("X-API-Key", key.expose_secret());
        }
        if let Some(parent) = span.traceparent() {
            request = request.header(TRACEPARENT, parent);
        }
        match request.send().await {
            Ok(answer) => match answer.status().as_u16() {
                200..=202 => Ok(()),
                other => Err(Unhealthy::Status(other)),
            },
            Err(error) if error.is_timeout() => Err(Unhealthy::Timeout(self.config.timeout)),
            Err(error) => Err(Unhealthy::Connection(cause(error))),
        }
    }
}

/// The innermost cause, which names what went wrong; without the address, which may hold secrets.
fn cause(error: reqwest::Error) -> String {
    clean::innermost(&error.without_url())
}
