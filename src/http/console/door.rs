//! Who is at the console: a session in a cookie, made of a key at the sign-in, or everybody on this
//! machine's loopback where there are no keys.
//!
//! A form is taken if it carries the
//! session's token, and if the browser does not say that another site has sent it; a cookie alone
//! acts nowhere.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq;

use super::layout::Theme;
use super::session::{self, Session, token};
use super::{Answer, BASE, ConsoleState};
use crate::http::api::Access;
use crate::http::api::access::{self, Role, loopback_host};
use crate::http::api::problem::Problem;
use crate::http::api::take::{Pairs, typed, whole};
use crate::operate::wire::Who;

/// How the cookie of a session begins.
const COOKIE: &str = "mutt_console";
/// The cookie of what is told once.
const FLASH: &str = "mutt_flash";
/// Bytes of a form, at most: a hundred messages by name.
const FORM: usize = 16 << 10;
/// Bytes of one with an edited message, with what a form makes of its signs.
const EDIT: usize = 2 << 20;

/// Who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) who: Who,
    pub(super) role: Role,
    /// What a form of his must carry.
    pub(super) token: String,
    pub(super) theme: Theme,
    /// When his session ends; never where nobody signs in.
    pub(super) until: Option<i64>,
    /// What is to be told once.
    pub(super) flash: Option<String>,
    /// Whether the script asks, for a part of a page.
    part: bool,
}

impl Visitor {
    /// Whether he may act.
    pub(super) fn acts(&self) -> bool {
        self.role == Role::Operator
    }

    /// # Errors
    /// Where he may only look.
    pub(super) fn may_act(&self) -> Answer<()> {
        if self.acts() {
            return Ok(());
        }
        let detail = "this session may only look: it was opened with the key for reading";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// Whether the script asks, for a part of a page.
    pub(super) fn wants_a_part(&self) -> bool {
        self.part
    }
}

/// A form that was sent from a page of ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(pub(super) Pairs);

/// What the address of a page asks for; what a form left empty is not given.
pub(super) struct Sought(pub(super) Pairs);

impl<S: Sync> FromRequestParts<S> for Sought {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Pairs::of_form(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Without the guard in front nobody is anybody.
        let visitor = parts.extensions.get::<Self>().cloned();
        visitor.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "nobody is signed in"))
    }
}

/// Lets in who may, with what he sent.
pub(super) async fn guard(
    State(console): State<ConsoleState>,
    asked: Request,
    go: Next,
) -> Response {
    match console.admit(asked) {
        Ok(asked) => {
            let visitor = asked.extensions().get::<Visitor>().cloned();
            let acts = !access::only_reads(asked.method());
            let mut response = go.run(asked).await;
            if acts {
                // The page that comes next shows what has become of it.
                *console.0.status.lock().await = None;
            }
            let Some(visitor) = visitor else {
                return response;
            };
            let is_page = response.headers().get(header::CONTENT_TYPE);
            let is_page = is_page.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
            if visitor.flash.is_some() && is_page && !visitor.part {
                set_cookie(
                    &mut response,
                    &format!("{FLASH}=; Path=/console; Max-Age=0"),
                );
            }
            // For a page that tells of a failure.
            response.extensions_mut().insert(visitor);
            response
        }
        Err(response) => *response,
    }
}

/// Reads a form, and takes it if it carries its session's token.
pub(super) async fn read(asked: Request, go: Next) -> Response {
    if access::only_reads(asked.method()) {
        return go.run(asked).await;
    }
    match with_form(asked).await {
        Ok(asked) => go.run(asked).await,
        Err(problem) => problem.into_response(),
    }
}

async fn with_form(asked: Request) -> Answer<Request> {
    let (mut parts, body) = asked.into_parts();
    let edits = parts.uri.path().ends_with("/edit");
    let most = if edits { EDIT } else { FORM };
    let mut form = sent(&parts.headers, body, most).await?;
    let given = form.one("token")?.unwrap_or_default();
    let known = parts
        .extensions
        .get::<Visitor>()
        .map(|visitor| &visitor.token);
    if !known.is_some_and(|known| given.as_bytes().ct_eq(known.as_bytes()).into()) {
        let detail =
            "this form is not of this session: go back, load the page again, and send it once more";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    parts.extensions.insert(Form(form));
    Ok(Request::from_parts(parts, Body::empty()))
}

impl ConsoleState {
    fn admit(&self, asked: Request) -> Result<Request, Box<Response>> {
        let refuse = |problem: Problem| Box::new(problem.into_response());
        let headers = asked.headers();
        ours(headers, asked.uri()).map_err(refuse)?;
        let now = jiff::Timestamp::now().as_second();
        let Some(visitor) = self
            .visitor(headers, asked.extensions().get(), now)
            .map_err(refuse)?
        else {
            if asked.method() == Method::GET && wants_a_page(headers) {
                let to = asked
                    .uri()
                    .path_and_query()
                    .map_or("", |path| path.as_str());
                let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
                let there = format!("{BASE}/sign-in?to={to}");
                return Err(Box::new(Redirect::to(&there).into_response()));
            }
            let detail = "nobody is signed in, or the session has ended: sign in again";
            return Err(refuse(Problem::new(StatusCode::UNAUTHORIZED, detail)));
        };
        let role = visitor.role;
        if access::only_reads(asked.method()) {
            let mut asked = asked;
            asked.extensions_mut().insert(role);
            asked.extensions_mut().insert(visitor);
            return Ok(asked);
        }
        visitor.may_act().map_err(refuse)?;
        same_site(headers).map_err(refuse)?;
        let mut asked = asked;
        asked.extensions_mut().insert(role);
        asked.extensions_mut().insert(visitor);
        Ok(asked)
    }

    /// Who asks; nobody where nobody is signed in.
    fn visitor(
        &self,
        headers: &HeaderMap,
        peer: Option<&ConnectInfo<SocketAddr>>,
        now: i64,
    ) -> Result<Option<Visitor>, Problem> {
        let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let (session, secret, signed) = match self.0.api.access() {
            Access::Keys(keys) => {
                let cookie = cookie(headers, &session_cookie(headers));
                let session =
                    cookie.and_then(|text| Session::read(text, now, |role| keys.seal(role)));
                let Some(session) = session else {
                    return Ok(None);
                };
                let Some(secret) = keys.seal(session.role) else {
                    return Ok(None);
                };
                (session, secret, true)
            }
            Access::Loopback => {
                loopback_host(headers)?;
                (Session::of_everybody(), self.0.local, false)
            }
            Access::Known(_) => return Ok(None),
        };
        let token = token(&secret, &session.id);
        let flash = cookie(headers, FLASH).and_then(|text| session::opened(text, &token));
        Ok(Some(Visitor {
            who: session.role.who(session.user.as_deref(), peer, "console"),
            role: session.role,
            token,
            theme: theme(headers),
            until: signed.then_some(session.until),
            flash,
            part: !wants_a_page(headers),
        }))
    }
}

/// Whether a browser asks for a page, and not a script of ours for a part of one.
fn wants_a_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    !headers.contains_key("x-part")
        && !accepts.is_some_and(|accepts| accepts.starts_with(b"text/event-stream"))
}

/// A form, read whole.
pub(super) async fn sent(headers: &HeaderMap, body: Body, most: usize) -> Result<Pairs, Problem> {
    typed(headers, &["application/x-www-form-urlencoded"])?;
    let bytes = whole(body, most).await?;
    let text = str::from_utf8(&bytes);
    let text = text.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the form is not UTF-8"))?;
    Pairs::of_form(text)
}

/// Refuses what another site's page asks for without its reader: a picture, a script, a frame. A
/// link that he has followed is let through, but for what takes some reading in Redis; and so is
/// not what a browser only guesses that he may want.
fn ours(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let is = |name: &str, words: &[&str]| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| words.iter().any(|word| value.contains(word)))
    };
    let refuse = |detail| Err(Problem::new(StatusCode::FORBIDDEN, detail));
    let elsewhere = is("sec-fetch-site", &["cross-site", "same-site"]);
    if elsewhere && !is("sec-fetch-mode", &["navigate"]) {
        return refuse("another site has asked for this");
    }
    let dear = ["/plan", "/review", "/counts", "/export"];
    let dear = dear.iter().any(|end| uri.path().ends_with(end))
        || uri.query().is_some_and(|query| query.contains("scan="));
    if dear && (elsewhere || is("sec-purpose", &["prefetch"])) {
        return refuse("this is asked for from a page of the console");
    }
    Ok(())
}

/// Refuses what another site has sent. A browser that says so is believed; one that does not, as
/// over plain HTTP, says where the form came from.
pub(super) fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = || {
        let detail =
            "another site has sent this; if a proxy is in between, it must keep the header Host";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    if let Some(site) = headers.get("sec-fetch-site") {
        return match site.as_bytes() {
            b"same-origin" | b"none" => Ok(()),
            _ => refuse(),
        };
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let named = origin.split_once("://").map(|(_, named)| named);
    if named.is_some() && named == host {
        return Ok(());
    }
    refuse()
}

/// A cookie of ours, whatever others there are.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut mine = pairs.filter_map(|pair| {
        let (known, value) = str::from_utf8(pair).ok()?.trim().split_once('=')?;
        (known == name).then_some(value)
    });
    mine.next()
}

/// The name of the session's cookie. Cookies know no port, so that the name tells it: two consoles
/// behind two forwarded ports of one machine do not end each other's sessions.
pub(super) fn session_cookie(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let port = host
        .and_then(|host| host.rsplit_once(':'))
        .map(|(_, port)| port);
    let digits = |port: &&str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    format!("{COOKIE}_{}", port.filter(digits).unwrap_or("0"))
}

pub(super) fn theme(headers: &HeaderMap) -> Theme {
    Theme::named(cookie(headers, "mutt_theme").unwrap_or_default())
}

pub(super) fn set_cookie(response: &mut Response, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// To another page, which tells this once.
pub(super) fn to(visitor: &Visitor, there: &str, flash: &str) -> Response {
    let mut response = Redirect::to(there).into_response();
    let short: String = flash.chars().take(600).collect();
    let text = session::closed(&short, &visitor.token);
    let cookie = format!("{FLASH}={text}; Path=/console; Max-Age=60; HttpOnly; SameSite=Lax");
    set_cookie(&mut response, &cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_refused() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().expect("a value"));
            }
            same_site(&headers).is_ok()
        };
        assert!(of(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://a"),
            ("host", "b")
        ]));
        assert!(of(&[("origin", "http://mutt:8400"), ("host", "mutt:8400")]));
        assert!(of(&[("host", "mutt:8400")]), "neither is said by a program");
        assert!(!of(&[("sec-fetch-site", "same-site"), ("host", "a")]));
        assert!(!of(&[("sec-fetch-site", "cross-site"), ("host", "a")]));
        assert!(!of(&[("origin", "http://evil"), ("host", "mutt:8400")]));
        assert!(!of(&[("origin", "null"), ("host", "mutt:8400")]));
    }
}
