//! Sends over HTTP. Of an answer only its status and `Retry-After` count; the body is never read.

use std::time::Duration;

use reqwest::redirect::Policy;
use url::Url;

use super::send::{Failure, TIMEOUT};
use super::text::plain;
use crate::clean;

/// Longest time until there is a connection: less than [`TIMEOUT`], so that it is known whether a
/// message can have come through.
const CONNECT: Duration = Duration::from_secs(9);

/// The HTTP client of all receivers.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

impl Http {
    /// A client without proxies, which follows no redirect.
    ///
    /// # Errors
    /// When the system's certificate store cannot be used.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("mutt-remediation/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self(client))
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// [`Failure`] says whether it may work later. It does not show the address.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<(), Failure> {
        let mut request = self.0.post(url.clone()).body(body);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() && error.is_connect() => {
                let seconds = CONNECT.as_secs();
                return Err(Failure::later(format!("no connection within {seconds} s")));
            }
            Err(error) if error.is_timeout() => return Err(Failure::unanswered(TIMEOUT)),
            Err(error) => return Err(Failure::later(cause(error))),
        };
        let status = answer.status().as_u16();
        match status {
            200..=299 => Ok(()),
            300..=399 => Err(Failure::never(format!(
                "answered {status}, a redirect, which is not followed"
            ))),
            408 | 429 | 500.. => {
                let after = answer.headers().get("retry-after");
                let after = after.and_then(|value| value.to_str().ok());
                let now = jiff::Timestamp::now().as_second();
                Err(Failure {
                    after: after.and_then(|text| retry_after(text, now)),
                    ..Failure::later(format!("answered {status}"))
                })
            }
            _ => Err(Failure::never(format!("answered {status}"))),
        }
    }
}

/// How long to wait: seconds, or a moment.
fn retry_after(text: &str, now: i64) -> Option<Duration> {
    let seconds = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let moment = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
            u64::try_from(moment.timestamp().as_second() - now).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds))
}

/// The innermost cause, which names what went wrong; without the address, which may hold secrets.
fn cause(error: reqwest::Error) -> String {
    plain(&clean::innermost(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_moment() {
        let seconds = |text: &str| retry_after(text, 1_445_412_480).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:29:00 GMT"), Some(60));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:27:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-1"), None);
    }
}
