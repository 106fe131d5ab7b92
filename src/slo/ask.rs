//! Asks Prometheus over HTTP, or what speaks like it. Knows nothing of objectives.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::{Body, Series};
use crate::clean;

/// Before it is asked once more.
const RETRY: Duration = Duration::from_millis(500);
/// Bytes of an answer, at most: a hundred times what an objective needs.
const MOST: usize = 4 * 1024 * 1024;

/// Where Prometheus is, and who we are to it.
#[derive(Clone, Debug)]
pub struct PrometheusConfig {
    /// What `/api/v1/query` lies below; without user and password.
    pub url: Url,
    /// How to sign in, if one has to.
    pub access: Option<Access>,
    /// PEM file of the authority that its certificate is trusted by, besides the system's.
    pub ca_cert: Option<PathBuf>,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

/// How to sign in.
#[derive(Clone, Debug)]
pub enum Access {
    /// `Authorization: Bearer`.
    Bearer(SecretString),
    /// `Authorization: Basic`.
    Basic(String, SecretString),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was not reached, or did not answer, or not as Prometheus does: there will be one later.
    #[error("{0}")]
    Away(String),
    /// It did not answer this query in time: the query is heavy, or Prometheus hangs.
    #[error("{0}")]
    Slow(String),
    /// It does not take this query, or cannot answer it in full.
    #[error("{0}")]
    Refused(String),
}

/// A client of Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    config: PrometheusConfig,
    /// Made at the first query; until then a certificate may still come.
    client: Option<Client>,
}

impl Prometheus {
    /// Speaks to nobody yet.
    #[must_use]
    pub fn new(config: PrometheusConfig) -> Self {
        Self {
            config,
            client: None,
        }
    }

    /// The value of a query now, by the clock of Prometheus: ours may differ.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn instant(&mut self, query: &str) -> Result<Vec<Series>, Failure> {
        self.ask("api/v1/query", &[("query", query)]).await
    }

    /// The values of a query from one moment to another, both in Unix seconds.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn range(
        &mut self,
        query: &str,
        (from, to): (i64, i64),
        step: Duration,
    ) -> Result<Vec<Series>, Failure> {
        let (from, to) = (from.to_string(), to.to_string());
        let step = step.as_secs().to_string();
        let form = [
            ("query", query),
            ("start", &from),
            ("end", &to),
            ("step", &step),
        ];
        self.ask("api/v1/query_range", &form).await
    }

    /// Asks, and once more if it was away.
    async fn ask(&mut self, path: &str, form: &[(&str, &str)]) -> Result<Vec<Series>, Failure> {
        // A second less, so that Prometheus says itself that a query takes too long.
        let seconds = self.config.timeout.as_secs().saturating_sub(1).max(1);
        let timeout = format!("{seconds}s");
        let body = Serializer::new(String::new())
            .extend_pairs(form)
            .append_pair("timeout", &timeout)
            .finish();
        match self.once(path, body.clone()).await {
            Err(Failure::Away(_) | Failure::Slow(_)) => {
                sleep(RETRY).await;
                self.once(path, body).await
            }
            answer => answer,
        }
    }

    async fn once(&mut self, path: &str, body: String) -> Result<Vec<Series>, Failure> {
        let sent = self.request(path)?.body(body).send().await;
        let mut answer = sent.map_err(|error| self.away(error))?;
        let status = answer.status().as_u16();
        // Of the others the body is not what Prometheus writes; 503 is its own time limit of a query.
        if !matches!(status, 200 | 400 | 422 | 503) {
            return Err(Failure::Away(unexpected(status)));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.away(error))? {
            text.extend_from_slice(&chunk);
            if text.len() > MOST {
                return Err(Failure::Refused(format!(
                    "the answer of Prometheus is longer than {MOST} bytes"
                )));
            }
        }
        match serde_json::from_slice::<Body>(&text) {
            Ok(body) if status == 200 => body.series().map_err(Failure::Refused),
            Ok(body) if status == 503 && !body.is_of_query() => {
                Err(Failure::Away(unexpected(status)))
            }
            Ok(body) => Err(Failure::Refused(format!(
                "Prometheus refuses the query: {}",
                body.error().unwrap_or_else(|| "no reason given".into())
            ))),
            Err(_) if status == 503 => Err(Failure::Away(unexpected(status))),
            Err(_) => Err(Failure::Away(
                "what answers does not speak like Prometheus: check PROMETHEUS_URL".into(),
            )),
        }
    }

    fn away(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            let seconds = self.config.timeout.as_secs();
            return Failure::Slow(format!("no answer within {seconds} s"));
        }
        Failure::Away(cause(error))
    }

    fn request(&mut self, path: &str) -> Result<RequestBuilder, Failure> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(&self.config)?),
        };
        let base = self.config.url.as_str().trim_end_matches('/');
        let request = client
            .post(format!("{base}/{path}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        Ok(match &self.config.access {
            None => request,
            Some(Access::Bearer(token)) => request.bearer_auth(token.expose_secret()),
            Some(Access::Basic(user, password)) => {
                request.basic_auth(user, Some(password.expose_secret()))
            }
        })
    }
}

/// What a status means that Prometheus itself does not answer with.
fn unexpected(status: u16) -> String {
    let advice = match status {
        300..=399 => ", a redirect, which is not followed",
        401 | 403 => ": check PROMETHEUS_TOKEN, or PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD",
        404 => ": check the path of PROMETHEUS_URL, /api/v1/query is looked for below it",
        _ => "",
    };
    format!("answered {status}{advice}")
}

fn client(config: &PrometheusConfig) -> Result<Client, Failure> {
    let mut builder = Client::builder()
        .timeout(config.timeout)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("mutt-remediation/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &config.ca_cert {
        let shown = path.display();
        let pem = std::fs::read(path)
            .map_err(|error| Failure::Away(format!("PROMETHEUS_CA_CERT_PATH {shown}: {error}")))?;
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(Failure::Away(format!(
                "PROMETHEUS_CA_CERT_PATH {shown}: it holds no certificate in PEM"
            )));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| Failure::Away(cause(error)))
}

/// The innermost cause, which names what went wrong; without the address, which may hold secrets.
fn cause(error: reqwest::Error) -> String {
    clean::line(&clean::innermost(&error.without_url()))
}
