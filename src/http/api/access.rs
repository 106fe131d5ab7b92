//! Who may do what: keys in headers, or on the loopback of this machine without any.
//!
//! Keys are compared by their digests and in constant time, so that neither what is right in a
//! wrong one nor its length can be told from the time it takes.

use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use super::ApiState;
use super::failures::Verdict;
use super::problem::Problem;
use crate::operate::wire::Who;

/// The header for a key.
const KEY: &str = "x-api-key";
/// The header for a person's name.
const USER: &str = "x-remediation-user";
/// Characters of a person's name, at most.
const MAX_USER: usize = 64;
/// What a name must be.
pub(in crate::http) const NAME: &str = "one name of 1 to 64 printable ASCII characters";

/// How it is found out who asks.
#[derive(Clone, Debug)]
pub enum Access {
    /// By a key.
    Keys(Keys),
    /// Everybody who gets here is an operator; browsers are guarded against.
    Loopback,
    /// It is known: the command line asks in its own process.
    Known(Who),
}

/// Digests of the keys.
#[derive(Clone, Default)]
pub struct Keys {
    operator: Option<[u8; 32]>,
    reader: Option<[u8; 32]>,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Role {
    Operator,
    Reader,
}

impl Role {
    /// What somebody without a name of his own is called.
    pub(in crate::http) fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reader => "reader",
        }
    }

    /// Who asks, as the audit calls him.
    pub(in crate::http) fn who(self, user: Option<&str>, peer: Option<IpAddr>, by: &str) -> Who {
        let role = self.as_str();
        Who {
            name: match user {
                None => role.to_owned(),
                Some(user) => format!("{role}:{user}"),
            },
            from: peer.map_or_else(|| by.to_owned(), |peer| format!("{by} {peer}")),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Who);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The digests of these keys.
    #[must_use]
    pub fn new(operator: Option<&SecretString>, reader: Option<&SecretString>) -> Self {
        let of = |key: &SecretString| sha256(key.expose_secret().as_bytes());
        Self {
            operator: operator.map(of),
            reader: reader.map(of),
        }
    }

    /// What a role's sessions are sealed with: who has its key can make it, and nobody else.
    pub(in crate::http) fn seal(&self, role: Role) -> Option<[u8; 32]> {
        match role {
            Role::Operator => self.operator,
            Role::Reader => self.reader,
        }
    }

    /// Whose key it is; both are always compared.
    pub(in crate::http) fn role(&self, key: &[u8]) -> Option<Role> {
        let given = sha256(key);
        let is = |known: &Option<[u8; 32]>| {
            known
                .as_ref()
                .map_or(Choice::from(0), |known| known.ct_eq(&given))
        };
        let (operator, reader) = (is(&self.operator), is(&self.reader));
        if operator.into() {
            return Some(Role::Operator);
        }
        bool::from(reader).then_some(Role::Reader)
    }
}

/// Whether no page does anything when it is asked so.
pub(in crate::http) fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest_ = [0; 32];
    digest_.copy_from_slice(digest(&SHA256, bytes).as_ref());
    digest_
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        // Without the guard in front nobody is anybody.
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "nobody asks"))
    }
}

/// Lets through who may, and says who it is.
pub(super) async fn guard(State(api): State<ApiState>, mut asked: Request, go: Next) -> Response {
    let peer = asked.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
    match api.caller(asked.method(), asked.headers(), peer) {
        Ok((caller, role)) => {
            asked.extensions_mut().insert(caller);
            asked.extensions_mut().insert(role);
            go.run(asked).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl ApiState {
    fn caller(
        &self,
        method: &Method,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<(Caller, Role), Problem> {
        let role = match &self.0.access {
            Access::Known(who) => return Ok((Caller(who.clone()), Role::Operator)),
            Access::Loopback => {
                no_browser(headers)?;
                Role::Operator
            }
            Access::Keys(keys) => match presented(headers)? {
                None => return Err(no_key()),
                Some(key) => keys.role(key).ok_or_else(|| self.wrong_key(peer))?,
            },
        };
        if role == Role::Reader && !only_reads(method) {
            let detail = "this key may only read; acts take the one in REMEDIATION_API_KEY";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let who = role.who(user(headers)?, peer, "api");
        Ok((Caller(who), role))
    }

    /// Counts a wrong key, and says what to answer.
    pub(in crate::http) fn wrong_key(&self, peer: Option<IpAddr>) -> Problem {
        let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let failures = self.0.failures.lock();
        let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
        let verdict = failures.add(peer, Instant::now());
        drop(failures);
        match verdict {
            Verdict::Wrong { first } => {
                if first {
                    tracing::warn!(%peer, "a wrong key was sent to the api");
                }
                Problem::new(StatusCode::UNAUTHORIZED, "the key is wrong")
            }
            Verdict::TooMany(wait) => {
                let detail = "too many wrong keys came from this address";
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait.as_secs() + 1)
            }
        }
    }
}

fn no_key() -> Problem {
    let detail = "a key is needed, in the header X-API-KEY or as Authorization: Bearer, and never in the address";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// The key that was sent, if one was; more than one is none.
fn presented(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let plain = headers.get_all(KEY).iter().map(HeaderValue::as_bytes);
    let bearer = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"bearer ") {
            key.trim_ascii()
        } else {
            b""
        }
    });
    let mut keys = plain.chain(bearer);
    let key = keys.next();
    if keys.next().is_some() {
        let detail = "one key is needed, not several";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    }
    Ok(key)
}

/// The name that somebody gives; it goes into the audit and the log.
fn user(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut names = headers.get_all(USER).iter();
    let Some(name) = names.next() else {
        return Ok(None);
    };
    let name = name.to_str().unwrap_or_default();
    if names.next().is_some() || !is_name(name) {
        return Err(Problem::bad("X-Remediation-User", name, NAME));
    }
    Ok(Some(name))
}

/// Whether somebody can be called so.
pub(in crate::http) fn is_name(name: &str) -> bool {
    let printable = name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    !name.trim().is_empty() && name.len() <= MAX_USER && printable
}

/// A page in a browser on this machine could ask as well as its user: what other sites make it ask
/// has an origin, and what was led here by a name of theirs has that name.
fn no_browser(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail| Err(Problem::new(StatusCode::FORBIDDEN, detail));
    if headers.contains_key(header::ORIGIN) {
        return refuse("without a key no page in a browser may ask");
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| !matches!(site, b"none" | b"same-origin")) {
        return refuse("without a key no page of another site may ask");
    }
    loopback_host(headers)
}

/// A page that was led here by a name of theirs has that name.
pub(in crate::http) fn loopback_host(headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() || !host.is_some_and(is_loopback) {
        let detail = "without a key the header Host must name this machine's loopback";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Whether a `Host` names the loopback, with any port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(name).parse().ok();
    address.map_or(name.eq_ignore_ascii_case("localhost"), |address| {
        address.to_canonical().is_loopback()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_role_whole_and_nothing_else_is() {
        let (operator, reader) = ("0123456789abcdef".into(), "fedcba9876543210".into());
        let keys = Keys::new(Some(&operator), Some(&reader));
        assert_eq!(keys.role(b"0123456789abcdef"), Some(Role::Operator));
        assert_eq!(keys.role(b"fedcba9876543210"), Some(Role::Reader));
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdeF", b"x"] {
            assert_eq!(keys.role(wrong), None);
        }
        assert_eq!(Keys::default().role(b""), None);
        assert!(!format!("{keys:?}").contains("012"), "{keys:?}");
    }

    #[test]
    fn only_names_of_the_loopback_are_taken_for_it() {
        for host in [
            "localhost",
            "LOCALHOST:8400",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]:8400",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8400",
            "evil.example:8400",
            "192.0.2.7",
            "[2001:db8::1]:8400",
            "localhost:80:80",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_key_comes_in_one_header_and_once() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().expect("a value"));
            }
            presented(&headers)
                .map(|key| key.map(<[u8]>::to_vec))
                .map_err(|problem| problem.into_response().status().as_u16())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("x-api-key", "k")]), Ok(Some(b"k".to_vec())));
        assert_eq!(
            of(&[("authorization", "bearer  k")]),
            Ok(Some(b"k".to_vec()))
        );
        assert_eq!(of(&[("authorization", "Basic a2s=")]), Ok(Some(vec![])));
        assert_eq!(of(&[("x-api-key", "k"), ("x-api-key", "l")]), Err(401));
        assert_eq!(
            of(&[("x-api-key", "k"), ("authorization", "Bearer k")]),
            Err(401)
        );
    }
}
