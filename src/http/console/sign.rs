//! Signing in, with a key, and out.

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::door::{same_site, sent, session_cookie, set_cookie, theme};
use super::layout::{self, Theme};
use super::session::{LASTS, Session};
use super::{Answer, BASE, ConsoleState};
use crate::http::api::Access;
use crate::http::api::access::{NAME, is_name};
use crate::http::api::take::Pairs;

/// Bytes of the form, at most: anybody may send it, and as many at a time as there are connections.
const SMALL: usize = 4 * 1024;

/// Whether a browser got here over TLS, as the proxy in front says. All that it changes is that the
/// cookie never leaves over anything else.
fn secure(headers: &HeaderMap) -> &'static str {
    let proto = headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    if proto == Some(b"https") {
        "; Secure"
    } else {
        ""
    }
}

/// Only a page of ours is gone to.
fn own(to: Option<String>) -> String {
    let ours = |to: &String| {
        let known = to.starts_with("/console/") && !to.starts_with("/console/sign-");
        known
            && to
                .bytes()
                .all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\')
    };
    to.filter(ours).unwrap_or_else(|| format!("{BASE}/"))
}

/// The sign-in.
pub(super) async fn page(State(console): State<ConsoleState>, asked: Request) -> Answer<Response> {
    let mut pairs = Pairs::of_form(asked.uri().query().unwrap_or_default())?;
    let to = own(pairs.one("to")?);
    if matches!(console.0.api.access(), Access::Loopback) {
        return Ok(Redirect::to(&to).into_response());
    }
    Ok(form(theme(asked.headers()), &to, None).into_response())
}

fn form(theme: Theme, to: &str, wrong: Option<&str>) -> Markup {
    let body = html! {
        main #main .narrow {
            h1 { "Sign in" }
            p { "The console of mutt-remediation, which brings dead letters back to work." }
            @if let Some(wrong) = wrong {
                p .alert role="alert" { (wrong) }
            }
            form method="post" action="/console/sign-in" .stack {
                input type="hidden" name="to" value=(to);
                label for="user" { "Your name" span .help { " (optional, for the audit)" } }
                input #user name="user" maxlength="64" autocomplete="username" spellcheck="false";
                label for="key" { "Key" }
                input #key type="password" name="key" required autocomplete="current-password"
                    aria-describedby="key-help" autofocus;
                p #key-help .help {
                    "That of " code { "REMEDIATION_API_KEY" } ", to act, or of "
                    code { "REMEDIATION_API_READ_KEY" } ", to look."
                }
                div { button .primary type="submit" { "Sign in" } }
            }
        }
    };
    layout::bare("Sign in", theme, &body)
}

/// Opens a session.
pub(super) async fn sign_in(
    State(console): State<ConsoleState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    asked: Request,
) -> Answer<Response> {
    let (parts, body) = asked.into_parts();
    let headers = &parts.headers;
    same_site(headers)?;
    let mut form_ = sent(headers, body, SMALL).await?;
    let to = own(form_.one("to")?);
    let Access::Keys(keys) = console.0.api.access() else {
        return Ok(Redirect::to(&to).into_response());
    };
    let given = form_.one("key")?.unwrap_or_default();
    let user = form_.one("user")?;
    let user = user
        .as_deref()
        .map(str::trim)
        .filter(|user| !user.is_empty());
    let again = |status: StatusCode, wrong: &str| {
        Ok((status, form(theme(headers), &to, Some(wrong))).into_response())
    };
    if user.is_some_and(|user| !is_name(user)) {
        let wrong = format!("The name cannot be used: expected {NAME}.");
        return again(StatusCode::UNPROCESSABLE_ENTITY, &wrong);
    }
    let Some(role) = keys.role(given.trim().as_bytes()) else {
        let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip().to_canonical());
        let problem = console.0.api.wrong_key(peer);
        let wrong = match problem.status() {
            StatusCode::TOO_MANY_REQUESTS => {
                "Too many wrong keys came from this address. Wait a minute."
            }
            _ => "This key is wrong.",
        };
        return again(problem.status(), wrong);
    };
    let Some(secret) = keys.seal(role) else {
        return again(StatusCode::UNAUTHORIZED, "This key is wrong.");
    };
    let session = Session::new(role, user, jiff::Timestamp::now().as_second());
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer.ip().to_canonical());
    let who = role.who(user, peer, "console");
    tracing::info!(
        who = who.name.as_str(),
        from = who.from.as_str(),
        "somebody signed in to the console"
    );
    let mut response = Redirect::to(&to).into_response();
    let cookie = format!(
        "{}={}; Path=/console; Max-Age={LASTS}; HttpOnly; SameSite=Lax{}",
        session_cookie(headers),
        session.sealed(&secret),
        secure(headers),
    );
    set_cookie(&mut response, &cookie);
    Ok(response)
}

/// Has the browser forget the session.
pub(super) async fn sign_out(headers: HeaderMap) -> Answer<Response> {
    same_site(&headers)?;
    let mut response = Redirect::to("/console/sign-in").into_response();
    let name = session_cookie(&headers);
    let cookie = format!("{name}=; Path=/console; Max-Age=0; HttpOnly; SameSite=Lax");
    set_cookie(&mut response, &cookie);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        let of = |to: &str| own(Some(to.to_owned()));
        assert_eq!(of("/console/runs?x=1"), "/console/runs?x=1");
        for bad in [
            "//evil",
            "https://evil",
            "/console/../..//evil\\",
            "/other",
            "/console/sign-in",
            "/console/a\r\nb",
        ] {
            assert_eq!(of(bad), "/console/", "{bad}");
        }
        assert_eq!(own(None), "/console/");
    }
}
