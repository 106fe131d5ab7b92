//! What requests bring: parameters of the address, each known and given once, and bodies of one
//! type and bounded size, in time.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::form_urlencoded;

use super::ApiState;
use super::problem::Problem;
use crate::operate::wire::Line;

/// Bytes of a body, at most.
const BODY: usize = 1 << 20;
/// Bytes of an import, at most.
const IMPORT: usize = 8 << 20;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(15);
/// Parameters of an address, at most.
const PAIRS: usize = 100;
/// Those of a form, which may name a hundred messages.
const FORM_PAIRS: usize = 150;

/// The parameters of an address that were not taken yet.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Pairs(Vec<(String, String)>);

/// What takes its parameters from an address.
pub(in crate::http) trait Taken: Sized {
    /// Takes what it knows.
    fn take(pairs: &mut Pairs) -> Result<Self, Problem>;
}

/// Nothing is taken.
impl Taken for () {
    fn take(_: &mut Pairs) -> Result<Self, Problem> {
        Ok(())
    }
}

impl Pairs {
    fn read(query: &str) -> Result<Self, Problem> {
        Self::within(query, PAIRS)
    }

    /// What a browser's form says: what was not filled in counts as not given.
    pub(in crate::http) fn of_form(query: &str) -> Result<Self, Problem> {
        let mut pairs = Self::within(query, FORM_PAIRS)?;
        pairs.0.retain(|(_, value)| !value.is_empty());
        Ok(pairs)
    }

    fn within(query: &str, most: usize) -> Result<Self, Problem> {
        let sound = percent_encoding::percent_decode_str(query).decode_utf8();
        if sound.is_err() {
            let detail = "the parameters are not UTF-8";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let pairs: Vec<_> = pairs.take(most + 1).collect();
        if pairs.len() > most {
            let detail = format!("there are more than {most} parameters");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Self(pairs))
    }

    /// All values of a parameter.
    pub(in crate::http) fn many(&mut self, name: &str) -> Vec<String> {
        let mine = self.0.extract_if(.., |(known, _)| known == name);
        mine.map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be given once.
    pub(in crate::http) fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.many(name).into_iter();
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(second) => Err(Problem::bad(name, &second, "it once")),
        }
    }

    /// A whole number within bounds.
    pub(in crate::http) fn number(
        &mut self,
        name: &'static str,
        (least, most): (u64, u64),
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = format!("a whole number from {least} to {most}");
                Err(Problem::bad(name, &text, &expected))
            }
        }
    }

    /// `true` or `false`, which is also what it is if missing.
    pub(in crate::http) fn flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.one(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::bad(name, other, "true or false")),
        }
    }

    /// All of it was taken.
    pub(in crate::http) fn end(self) -> Result<(), Problem> {
        let Some((name, _)) = self.0.first() else {
            return Ok(());
        };
        // Its value may be a secret, which is not repeated.
        let detail =
            "there is no such parameter here; a key goes into a header, never into the address";
        Err(Problem::new(StatusCode::BAD_REQUEST, detail).about(name))
    }
}

/// The parameters of an address, and no others.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: Taken> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut pairs = Pairs::read(parts.uri.query().unwrap_or_default())?;
        let taken = T::take(&mut pairs)?;
        pairs.end()?;
        Ok(Self(taken))
    }
}

/// A body in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Problem> {
        typed(request.headers(), &["application/json"])?;
        let bytes = whole(request.into_body(), BODY).await?;
        parsed(&bytes).map(Self)
    }
}

/// A body of lines of JSON.
pub(super) struct Lines(pub(super) Vec<Line>);

impl FromRequest<ApiState> for Lines {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Problem> {
        typed(
            request.headers(),
            &["application/x-ndjson", "application/jsonl"],
        )?;
        let bytes = whole(request.into_body(), IMPORT).await?;
        lines(&bytes).map(Self)
    }
}

pub(in crate::http) fn typed(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let refuse = || {
        let detail = format!("the body must be of the type {}", wanted[0]);
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
    };
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|kind| kind.to_str().ok());
    let (Some(kind), None) = (kind, kinds.next()) else {
        return refuse();
    };
    let mut parts = kind.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let known = wanted
        .iter()
        .any(|wanted| name.eq_ignore_ascii_case(wanted));
    let utf8 = parts.all(|part| {
        part.eq_ignore_ascii_case("charset=utf-8") || part.eq_ignore_ascii_case("charset=\"utf-8\"")
    });
    let packed = headers.contains_key(header::CONTENT_ENCODING);
    if known && utf8 && !packed {
        Ok(())
    } else {
        refuse()
    }
}

/// The whole body, if it is small enough and comes in time.
pub(in crate::http) async fn whole(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    // Of one that is too large some more is taken and thrown away: who is still sending when the
    // connection is closed may never see the answer.
    let patience = 2 * most;
    let too_large = || {
        let detail = format!("the body has more than {most} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    if body.size_hint().lower() > patience as u64 {
        return Err(too_large());
    }
    let read = async {
        let mut bytes = vec![];
        let mut seen = 0;
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off");
            let part = part.map_err(broken)?;
            seen += part.len();
            if seen <= most {
                bytes.extend_from_slice(&part);
            } else if seen > patience {
                break;
            }
        }
        if seen > most {
            Err(too_large())
        } else {
            Ok(bytes)
        }
    };
    timeout(BODY_TIME, read).await.unwrap_or_else(|_| {
        let detail = "the body did not come in time";
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    })
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let status = if error.is_data() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::BAD_REQUEST
        };
        Problem::new(status, format!("the body cannot be used: {error}"))
    })
}

/// The messages of an import; the last line of an export is none.
fn lines(bytes: &[u8]) -> Result<Vec<Line>, Problem> {
    let mut lines = vec![];
    for (number, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        if serde_json::from_slice::<super::export::Last>(text).is_ok() {
            continue;
        }
        let line = parsed(text);
        lines.push(line.map_err(|problem: Problem| problem.about(&format!("line {number}")))?);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    fn status<T>(result: Result<T, Problem>) -> u16 {
        match result {
            Ok(_) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    #[test]
    fn a_parameter_is_known_once_and_of_its_kind() {
        let mut pairs = Pairs::read("limit=5&field=a%3Db&field=c&flag=true").expect("pairs");
        assert_eq!(pairs.number("limit", (1, 500)).expect("a number"), Some(5));
        assert_eq!(pairs.many("field"), ["a=b", "c"]);
        assert!(pairs.flag("flag").expect("a flag"));
        assert_eq!(status(pairs.end()), 200);
        for bad in [
            "limit=0",
            "limit=501",
            "limit=+5",
            "limit=",
            "limit=5&limit=5",
            "limit=%35%00",
        ] {
            let mut pairs = Pairs::read(bad).expect("pairs");
            assert_eq!(status(pairs.number("limit", (1, 500))), 400, "{bad}");
        }
        assert_eq!(
            status(Pairs::read("api_key=hush").expect("pairs").end()),
            400
        );
        assert_eq!(status(Pairs::read("text=%ff")), 400);
        assert_eq!(status(Pairs::read(&"a&".repeat(101))), 400);
    }

    #[test]
    fn a_refused_parameter_does_not_repeat_what_may_be_a_key() {
        let end = Pairs::read("x-api-key=hush").expect("pairs").end();
        assert!(!format!("{end:?}").contains("hush"), "{end:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<
            Result<Vec<u8>, std::io::Error>,
        >());
        assert_eq!(status(whole(body, 10).await), 408);
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_it_says_its_size_or_not() {
        assert_eq!(status(whole(Body::from("0123456789"), 10).await), 200);
        assert_eq!(status(whole(Body::from("01234567890"), 10).await), 413);
        let parts = (0..3).map(|_| Ok::<_, std::io::Error>("0123"));
        let body = Body::from_stream(futures_util::stream::iter(parts));
        assert_eq!(status(whole(body, 10).await), 413);
    }

    #[test]
    fn only_one_plain_type_is_taken() {
        let of = |kinds: &[&str]| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append("content-type", kind.parse().expect("a value"));
            }
            status(typed(&headers, &["application/json"]))
        };
        assert_eq!(of(&["application/json"]), 200);
        assert_eq!(of(&["Application/JSON; charset=UTF-8"]), 200);
        for bad in [
            &[][..],
            &["text/plain"],
            &["application/json; charset=latin-1"],
            &["application/json, text/plain"],
            &["application/json", "application/json"],
            &["application/x-www-form-urlencoded"],
        ] {
            assert_eq!(of(bad), 415, "{bad:?}");
        }
    }

    #[test]
    fn what_was_exported_can_be_imported_as_it_is() {
        let text = b"{\"body\":\"{}\"}\n\n{\"base64\":\"/w==\"}\n{\"end\":{\"lines\":2}}\n";
        assert_eq!(lines(text).expect("lines").len(), 2);
        assert_eq!(status(lines(b"{\"body\":\"{}\"}\n{\"boby\":\"{}\"}")), 422);
        assert_eq!(status(lines(b"{\"body\"")), 400);
    }
}
