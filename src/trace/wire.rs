//! OTLP over HTTP: spans as protocol buffers, and what the collector answers.

use std::fmt;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use secrecy::ExposeSecret;

use super::TraceConfig;
use crate::clean;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection is kept for the next batch.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read, at most.
const MOST: usize = 64 * 1024;

/// The batch as the body of a request.
pub(super) fn encode(batch: Vec<SpanData>, resource: &ResourceAttributesWithSchema) -> Vec<u8> {
    let resource_spans = group_spans_by_resource_and_scope(batch, resource);
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A collector of traces.
#[derive(Debug)]
pub(super) struct Collector {
    config: TraceConfig,
    client: Client,
}

/// Why not all spans of a batch were taken.
#[derive(Debug, Default)]
pub(super) struct Failure {
    what: String,
    /// So many are refused for good; `None` where it may work later.
    pub(super) refused: Option<u64>,
    /// The collector asks to be left alone for so long.
    pub(super) after: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Without the part of the address that may be a secret.
impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.config.endpoint.origin().ascii_serialization())
    }
}

impl Collector {
    pub(super) fn new(config: TraceConfig) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(config.timeout)
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("mutt-remediation/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { config, client })
    }

    /// Sends one batch.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<(), Failure> {
        let request = self.client.post(self.config.endpoint.clone()).body(body);
        let mut request = request.header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.config.headers {
            if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
                value.set_sensitive(true);
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.map_err(|error| self.away(error))?;
        let status = answer.status().as_u16();
        match status {
            200..=299 => partly(answer).await,
            // Those that OTLP says to try again after.
            429 | 502..=504 => Err(Failure {
                what: format!("answered {status}"),
                refused: None,
                after: asked_to_wait(&answer),
            }),
            300..=399 => Err(refused(format!(
                "answered {status}, a redirect, which is not followed"
            ))),
            _ => Err(refused(format!("answered {status}"))),
        }
    }

    /// In words, without the address.
    fn away(&self, error: reqwest::Error) -> Failure {
        let what = if error.is_timeout() {
            let longest = if error.is_connect() {
                self.config.timeout.min(CONNECT)
            } else {
                self.config.timeout
            };
            format!("no answer within {} s", longest.as_secs_f32())
        } else {
            let error = anyhow::Error::new(error.without_url());
            clean::line(&error.root_cause().to_string())
        };
        Failure {
            what,
            ..Failure::default()
        }
    }
}

/// All spans of the batch.
fn refused(what: String) -> Failure {
    Failure {
        what,
        refused: Some(u64::MAX),
        after: Duration::ZERO,
    }
}

fn asked_to_wait(answer: &Response) -> Duration {
    let text = answer.headers().get(RETRY_AFTER);
    let text = text.and_then(|value| value.to_str().ok());
    let seconds = text.and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// A collector that has taken a batch may say that it has not taken all of it. An answer that cannot
/// be read says nothing.
async fn partly(mut answer: Response) -> Result<(), Failure> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MOST {
            return Ok(());
        }
    }
    let answer = ExportTraceServiceResponse::decode(&body[..]).unwrap_or_default();
    let rejected = answer.partial_success.unwrap_or_default();
    let Ok(count @ 1..) = u64::try_from(rejected.rejected_spans) else {
        return Ok(());
    };
    let why: String = rejected.error_message.chars().take(200).collect();
    Err(Failure {
        what: format!("has taken all but {count} spans: {}", clean::line(&why)),
        refused: Some(count),
        after: Duration::ZERO,
    })
}
