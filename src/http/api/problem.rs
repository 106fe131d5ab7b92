//! What the API answers instead of what was asked for: problem details as RFC 9457 has them.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::link::Reason;
use crate::operate::Error;

/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Box<Details>);

/// Why a request was not done, as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Details {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong, for people.
    detail: String,
    /// The parameter, member or kind of thing that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its value, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// What would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// When to ask again, in seconds; also in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Problem {
    pub(in crate::http) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            name: None,
            value: None,
            expected: None,
            retry_after: None,
        }))
    }

    /// A parameter that cannot be used.
    pub(in crate::http) fn bad(name: &'static str, value: &str, expected: &str) -> Self {
        Error::invalid(name, value, expected).into()
    }

    /// It is about this parameter, member or thing.
    pub(super) fn about(mut self, name: &str) -> Self {
        self.0.name = Some(name.chars().take(80).collect());
        self
    }

    /// It may go better after so many seconds.
    pub(in crate::http) fn after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Its status.
    pub(in crate::http) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The parameter, member or kind of thing that it is about.
    pub(in crate::http) fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// What is wrong, for people.
    pub(in crate::http) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The same of a body: it could be read, and cannot be used.
    pub(in crate::http) fn of_body(mut self) -> Self {
        if self.0.status == StatusCode::BAD_REQUEST {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            self.0.status = status.as_u16();
            self.0.title = status.canonical_reason().unwrap_or("Error");
        }
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NotFound { what, name } => {
                let mut problem = Self::new(StatusCode::NOT_FOUND, detail).about(what);
                problem.0.value = Some(name);
                problem
            }
            Error::Invalid {
                name,
                value,
                expected,
            } => {
                let mut problem = Self::new(StatusCode::BAD_REQUEST, detail).about(name);
                problem.0.value = Some(value);
                problem.0.expected = Some(expected);
                problem
            }
            Error::NotHere(_) | Error::Conflict(_) => Self::new(StatusCode::CONFLICT, detail),
            Error::Redis(error) if error.reason == Reason::Timeout => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
            }
            Error::Redis(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(5),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // Texts and numbers alone: there is nothing in it that could not be written.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        let seconds = self.0.retry_after;
        // For the console, which shows it as a page.
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        if let Some(seconds) = seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let asks = HeaderValue::from_static("Bearer realm=\"mutt-remediation\"");
            headers.insert(header::WWW_AUTHENTICATE, asks);
        }
        response
    }
}

/// Makes a problem of any other failure, such as the router's own; its headers stay.
pub(super) fn made_of(response: Response) -> Response {
    let status = response.status();
    let headers = response.headers();
    let is_one = |kind: &HeaderValue| kind.as_bytes().starts_with(MEDIA_TYPE.as_bytes());
    let plain = !headers.get(header::CONTENT_TYPE).is_some_and(is_one);
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => {
            "there is no such page; /api/v1/openapi.json names those there are"
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            "this page does not know the method; the header Allow names those it knows"
        }
        StatusCode::BAD_REQUEST => "the address cannot be read",
        _ => "it could not be done",
    };
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allow) = headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}

fn described(statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<Described>> {
    let each = statuses.iter().map(|(status, meaning)| {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(*meaning)
            .content(MEDIA_TYPE, problem);
        (status.to_string(), RefOr::T(response.build()))
    });
    each.collect()
}

/// What every page may answer.
pub(super) struct Always;

impl IntoResponses for Always {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = described(&[
            (400, "The address or a header cannot be used."),
            (401, "There is no key, or a wrong one."),
            (403, "The key may only read, or a browser's page asks."),
            (429, "Too many wrong keys came from this address."),
            (
                503,
                "Redis cannot do its part, or too many requests are open.",
            ),
            (
                504,
                "It took too long; an act may have happened all the same, the audit tells.",
            ),
        ]);
        // The one that is refused before anybody here sees it, and so without a body.
        let head = ResponseBuilder::new().description(
            "The head is larger than 8 KiB, or has more than 100 lines; without a body.",
        );
        all.insert("431".to_owned(), RefOr::T(head.build()));
        all
    }
}

/// What pages about something may answer.
pub(super) struct Named;

impl IntoResponses for Named {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[(404, "There is no such thing.")])
    }
}

/// What acts may answer.
pub(super) struct Acts;

impl IntoResponses for Acts {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let conflict = "It cannot be done there, somebody else is at it, several messages are meant where one was named, or a plan is not what the request says.";
        described(&[(409, conflict)])
    }
}

/// What pages that take a body may answer.
pub(super) struct Bodies;

impl IntoResponses for Bodies {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            (408, "The body did not come in time."),
            (413, "The body is too large."),
            (415, "The body is of another type."),
            (422, "The body can be read, and cannot be used."),
        ])
    }
}
