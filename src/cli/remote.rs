//! The API of a daemon, as a client.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::refusal::{Kind, Refusal};
use super::{chain, transfer::End};
use crate::operate::wire::Line;

/// A connection takes so long at most.
const CONNECT: Duration = Duration::from_secs(5);
/// Nothing is heard for so long at most: a plan looks at a queue for 20 s.
const SILENCE: Duration = Duration::from_secs(60);
/// A line of an export is no longer than this: a message of 512 MiB, escaped, would be.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

/// A daemon that is asked over HTTP.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    url: Url,
    key: Option<HeaderValue>,
    who: Option<HeaderValue>,
}

/// RFC 9457, as far as people want to read it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: Option<String>,
}

impl Remote {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// When address or key cannot be used.
    pub(crate) fn new(url: Url, key: Option<&str>, who: &str) -> anyhow::Result<Self> {
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            let text = "--url: expected an address such as http://host:8400";
            return Err(Refusal::usage(text).into());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            let text = "--url: expected an address without a name, a password or a query: \
                        keys belong into REMEDIATION_API_KEY or a file";
            return Err(Refusal::usage(text).into());
        }
        let key = key.map(|key| {
            let mut value = HeaderValue::from_str(key)?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        let unfit = || Refusal::usage("the API key has characters that no header can carry");
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("mutt-remediation/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self {
            client,
            url,
            key: key.transpose().map_err(|_| unfit())?,
            who: HeaderValue::from_str(who).ok(),
        })
    }

    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Refusal> {
        let url = self.at(path, query);
        json(self.send(self.request(Method::GET, url)).await?).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Refusal> {
        let request = self.request(Method::POST, self.at(path, &[]));
        json(self.send(request.json(body)).await?).await
    }

    /// Asks for something that needs no more words.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Refusal> {
        let request = self.request(Method::POST, self.at(path, &[]));
        json(self.send(request).await?).await
    }

    /// Sets something.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Refusal> {
        let request = self.request(Method::PUT, self.at(path, &[]));
        json(self.send(request.json(body)).await?).await
    }

    /// Takes something away.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Refusal> {
        let request = self.request(Method::DELETE, self.at(path, &[]));
        json(self.send(request).await?).await
    }

    /// Sends lines.
    pub(crate) async fn push<T: DeserializeOwned>(
        &self,
        path: &[&str],
        lines: &[Line],
    ) -> Result<T, Refusal> {
        let mut body = String::new();
        for line in lines {
            let text = serde_json::to_string(line);
            body.push_str(&text.map_err(|error| Refusal::new(Kind::Refused, error.to_string()))?);
            body.push('\n');
        }
        let request = self.request(Method::POST, self.at(path, &[]));
        let request = request.header("content-type", "application/x-ndjson");
        json(self.send(request.body(body)).await?).await
    }

    /// Hands over the lines of an export as they come, and counts them. One that is not whole is a
    /// failure.
    pub(crate) async fn lines(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        mut each: impl FnMut(&Line) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let url = self.at(path, query);
        let mut answer = self.send(self.request(Method::GET, url)).await?;
        let mut waiting: Vec<u8> = vec![];
        let mut count = 0;
        let broken = |count, why: &str| {
            let text = format!("the export broke off after {count} messages: {why}");
            Refusal::new(Kind::Failed, text)
        };
        loop {
            let part = answer.chunk().await;
            let part = part.map_err(|error| broken(count, &chain(&error.without_url())))?;
            let Some(part) = part else {
                return Err(broken(count, "its last line is missing").into());
            };
            let searched = waiting.len();
            waiting.extend_from_slice(&part);
            let mut begin = 0;
            let ends = waiting[searched..].iter().enumerate();
            let ends = ends.filter_map(|(at, byte)| (*byte == b'\n').then_some(searched + at));
            for end in ends {
                let line = &waiting[begin..end];
                begin = end + 1;
                if let Ok(end) = serde_json::from_slice::<End>(line) {
                    return if end.end.lines == count {
                        Ok(count)
                    } else {
                        Err(broken(count, "some lines are missing").into())
                    };
                }
                let line = serde_json::from_slice(line);
                let line = line.map_err(|error| broken(count, &error.to_string()))?;
                each(&line)?;
                count += 1;
            }
            waiting.drain(..begin);
            if waiting.len() > LONGEST_LINE {
                return Err(broken(count, "a line is longer than 64 MiB").into());
            }
        }
    }

    fn at(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let path = path.iter().map(|segment| kept(segment));
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let mut request = self.client.request(method, url);
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key);
        }
        if let Some(who) = &self.who {
            request = request.header("x-remediation-user", who);
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Refusal> {
        let answer = request.send().await.map_err(|error| {
            let why = chain(&error.without_url());
            Refusal::new(Kind::Failed, format!("{} does not answer: {why}", self.url))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let wait = answer.headers().get(RETRY_AFTER).cloned();
        let wait = wait.as_ref().and_then(|wait| wait.to_str().ok());
        let problem = answer.json().await.unwrap_or_default();
        Err(refusal(status, problem, wait))
    }
}

/// What addresses drop instead of escaping it is escaped before: the rest would be another name.
fn kept(segment: &str) -> String {
    let dots = matches!(segment, "." | "..");
    let kept = segment.chars().map(|character| match character {
        '\t' | '\n' | '\r' => format!("%{:02X}", u32::from(character)),
        '.' if dots => "%2E".to_owned(),
        other => other.to_string(),
    });
    kept.collect()
}

async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, Refusal> {
    answer.json().await.map_err(|error| {
        let why = chain(&error.without_url());
        Refusal::new(Kind::Failed, format!("the answer cannot be read: {why}"))
    })
}

/// What an answer that is no success means here.
fn refusal(status: StatusCode, problem: Problem, wait: Option<&str>) -> Refusal {
    let kind = match status.as_u16() {
        404 => Kind::NotFound,
        400 | 401 | 403 | 405 | 413 | 414 | 415 | 422 | 431 => Kind::Usage,
        408 | 429 | 500.. => Kind::Failed,
        _ => Kind::Refused,
    };
    let said = problem.detail.filter(|detail| !detail.is_empty());
    let mut text = said.unwrap_or(problem.title);
    if text.is_empty() {
        text = format!("answered {status}");
    }
    match status.as_u16() {
        401 => text.push_str(
            " (the key is read from REMEDIATION_API_KEY, REMEDIATION_API_KEY_FILE or --key-file)",
        ),
        429 => {
            text.push_str(&wait.map_or_else(String::new, |wait| format!(" (again in {wait} s)")));
        }
        _ => {}
    }
    Refusal::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> anyhow::Result<Remote> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Remote::new(url.parse()?, Some("secret"), "alice@host")
    }

    #[test]
    fn names_and_values_are_escaped_in_addresses() {
        let remote = remote("http://host:8400/behind/").expect("a client");
        let query = [("field", "a=b&c d".to_owned())];
        assert_eq!(
            remote
                .at(&["queues", "a/../b?", "messages"], &query)
                .as_str(),
            "http://host:8400/behind/api/v1/queues/a%2F..%2Fb%3F/messages?field=a%3Db%26c+d"
        );
        assert_eq!(
            remote.at(&["status"], &[]).as_str(),
            "http://host:8400/behind/api/v1/status"
        );
    }

    #[test]
    fn no_name_becomes_another_one_in_an_address() {
        let remote = remote("http://host:8400").expect("a client");
        for name in ["..", ".", "", "alerter\n", "\talerter", "%2e%2e", "a/.."] {
            let url = remote.at(&["queues", name, "messages"], &[]);
            let segments: Vec<&str> = url.path().split('/').collect();
            assert_eq!(segments.len(), 6, "{name:?}: {url}");
            assert_ne!(segments[4], "alerter", "{name:?}");
        }
        let url = remote.at(&["queues", "a.b..c"], &[]);
        assert_eq!(url.path(), "/api/v1/queues/a.b..c");
    }

    #[test]
    fn keys_in_addresses_are_refused_and_never_shown() {
        for url in [
            "http://operator:secret@host:8400",
            "http://secret@host:8400",
            "http://host:8400/?key=secret",
            "ftp://host",
            "mailto:secret",
        ] {
            let error = remote(url).expect_err("it is refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let shown = format!("{:?}", remote("http://host:8400").expect("a client"));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_problem_says_what_the_core_said() {
        let problem = Problem {
            title: "Not Found".into(),
            detail: Some("there is no queue \"x\"".into()),
        };
        let refusal = refusal(StatusCode::NOT_FOUND, problem, None);
        assert_eq!(refusal.kind, Kind::NotFound);
        assert_eq!(refusal.text, "there is no queue \"x\"");
    }

    #[test]
    fn each_answer_has_its_exit_code() {
        for (status, code) in [
            (400, 2),
            (401, 2),
            (403, 2),
            (404, 4),
            (409, 1),
            (422, 2),
            (429, 1),
            (503, 1),
            (504, 1),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let refusal = refusal(status, Problem::default(), None);
            assert_eq!(refusal.outcome().code(), code, "{status}");
            assert!(refusal.text.contains("answered"), "{refusal}");
        }
    }
}
