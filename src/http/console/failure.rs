//! What a page says when it cannot be shown: what is wrong, and what to do.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::ConsoleState;
use super::door::Visitor;
use super::layout::{self, Place, Theme};
use super::view::safe;
use crate::http::api::access::only_reads;
use crate::http::api::problem::Problem;

/// There is no such page.
pub(super) async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such page")
}

/// Makes a page of every failure, every answer safe for browsers, and counts.
pub(super) async fn dress(
    State(console): State<ConsoleState>,
    asked: Request,
    go: Next,
) -> Response {
    let method = asked.method().clone();
    let route = asked.extensions().get::<MatchedPath>().cloned();
    let part = asked.headers().contains_key("x-part");
    let reads = only_reads(&method);
    let mut response = go.run(asked).await;
    if let Some(metrics) = console.0.api.metrics() {
        let route = route.as_ref().map(|_| super::BASE);
        metrics.answered(method.as_str(), route, response.status().as_u16());
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let kept: Vec<_> = [header::RETRY_AFTER, header::ALLOW]
            .into_iter()
            .filter_map(|name| {
                response
                    .headers_mut()
                    .remove(&name)
                    .map(|value| (name, value))
            })
            .collect();
        let visitor = response.extensions_mut().remove::<Visitor>();
        let page = if part {
            html! { p .alert role="alert" { (sentence(problem.detail())) } }
        } else {
            page(&problem, visitor.as_ref(), reads)
        };
        response = (problem.status(), page).into_response();
        response.headers_mut().extend(kept);
    } else if response.status().as_u16() >= 400 && !is_page(&response) {
        let detail = match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => "this page cannot be sent to",
            status if status.is_server_error() => "it broke off; the log of the daemon says more",
            _ => "the address cannot be read",
        };
        let problem = Problem::new(response.status(), detail);
        response = (problem.status(), page(&problem, None, reads)).into_response();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn page(problem: &Problem, visitor: Option<&Visitor>, reads: bool) -> Markup {
    let status = problem.status();
    let (title, advice) = advice(problem, reads);
    let body = html! {
        h1 { (title) }
        p .alert role="alert" { (sentence(problem.detail())) }
        p { (advice) }
        @if status == StatusCode::UNAUTHORIZED {
            p { a .button href="/console/sign-in" target="_blank" rel="noopener" { "Sign in, in a new tab" } }
        }
        p { a href="/console/" { "To the overview" } }
    };
    match visitor {
        Some(visitor) => layout::page(visitor, Place::Overview, title, None, &body),
        None => layout::bare(
            title,
            Theme::System,
            &html! { main #main .narrow { (body) } },
        ),
    }
}

/// As a sentence.
fn sentence(text: &str) -> String {
    let text = safe(text);
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!(
        "{}{}.",
        first.unwrap_or_default(),
        letters.as_str().trim_end_matches('.')
    )
}

fn advice(problem: &Problem, reads: bool) -> (&'static str, &'static str) {
    match problem.status() {
        StatusCode::UNAUTHORIZED => (
            "Not signed in",
            "Nothing was done. What you have typed is on the page before: sign in in another tab, go back there, and copy it into the page as it is loaded anew.",
        ),
        StatusCode::FORBIDDEN => ("Not allowed", "Nothing was done."),
        StatusCode::NOT_FOUND => match problem.name() {
            Some("message") => (
                "Not found",
                "A message that is gone was moved by the drain or by somebody else; the audit tells.",
            ),
            Some("plan") => (
                "This plan cannot be run",
                "It was run already, or its ten minutes are over. Look at the runs before you plan again.",
            ),
            Some("run") => (
                "Not found",
                "Only the last runs are kept; the audit tells of all.",
            ),
            _ => ("Not found", "The overview has all that there is."),
        },
        StatusCode::CONFLICT => ("Not now, or not here", "Nothing was moved."),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => (
            "This cannot be used",
            "Nothing was done. Go back, and change what is wrong.",
        ),
        StatusCode::SERVICE_UNAVAILABLE if problem.detail().starts_with("redis") => (
            "Redis cannot be asked",
            "Nothing is lost: what lies in Redis stays there, and the daemon tries again by itself. Load the page again in a moment.",
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "Too much at once",
            "Nothing was done. Load the page again in a moment.",
        ),
        StatusCode::GATEWAY_TIMEOUT if reads => (
            "It took too long",
            "Nothing was done: this only looks. Redis is slow or away, or there is too much to look at for one page.",
        ),
        StatusCode::GATEWAY_TIMEOUT => (
            "It took too long",
            "What was asked for may have happened all the same: look at the queue and the audit before you do it again.",
        ),
        StatusCode::TOO_MANY_REQUESTS => ("Too many wrong keys", "Wait a minute."),
        _ => ("It could not be done", "The log of the daemon says more."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_becomes_a_sentence() {
        assert_eq!(
            sentence("there is no queue \"x\""),
            "There is no queue \"x\"."
        );
        assert_eq!(sentence("Gone."), "Gone.");
        assert_eq!(sentence(""), ".");
    }
}
