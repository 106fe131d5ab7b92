//! Values that cannot be wrong: each type parses its own text and says what it expects.

use std::net::IpAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::retain::archive::Archive;

/// A type that can be read from the text of a variable.
pub trait Value: Sized {
    /// Whether the text must not be shown.
    const SECRET: bool = false;

    /// What is expected, to end the sentence "expected ...".
    fn expected() -> String;

    /// The value, if the text is one.
    fn parse(text: &str) -> Option<Self>;
}

/// The outcome of reading one variable. Reading never fails, so that all errors can be shown.
#[derive(Debug)]
pub struct Field<T> {
    /// The text as it was given.
    pub text: String,
    /// The value, unless the text is bad.
    pub value: Option<T>,
}

impl<'de, T: Value> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = T::parse(text.trim());
        Ok(Self { text, value })
    }
}

/// true/false/1/0/yes/no/on/off in any case.
#[derive(Clone, Copy, Debug)]
pub struct Flag(pub bool);

impl Value for Flag {
    fn expected() -> String {
        "true or false (or 1/0, yes/no, on/off)".into()
    }

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Self(true)),
            "false" | "0" | "no" | "off" => Some(Self(false)),
            _ => None,
        }
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Value for Whole<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn parse(text: &str) -> Option<Self> {
        let number = text.parse().ok()?;
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }
}

/// A share from none to all.
#[derive(Clone, Copy, Debug)]
pub struct Ratio(pub f64);

impl Value for Ratio {
    fn expected() -> String {
        "a ratio from 0 to 1".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let ratio = text.parse().ok()?;
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }
}

/// How much is replayed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceName {
    /// Batches and rate as configured.
    Fixed,
    /// As much as the pipeline is seen to take.
    Adaptive,
}

impl Value for PaceName {
    fn expected() -> String {
        "fixed or adaptive".into()
    }

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "fixed" => Some(Self::Fixed),
            "adaptive" => Some(Self::Adaptive),
            _ => None,
        }
    }
}

/// A TCP port; 0 takes any free one.
#[derive(Clone, Copy, Debug)]
pub struct Port(pub u16);

impl Value for Port {
    fn expected() -> String {
        "a port from 0 to 65535".into()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// Printable text without white space at its ends.
#[derive(Clone, Debug)]
pub struct Text(pub String);

impl Value for Text {
    fn expected() -> String {
        "printable text".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }
}

/// The host of a server. A text that is refused is not shown, because it may be an address with a
/// password.
#[derive(Clone, Debug)]
pub struct Host(pub String);

impl Value for Host {
    const SECRET: bool = true;

    fn expected() -> String {
        "a host name or address; one with a scheme, a user or a password belongs into REDIS_URL"
            .into()
    }

    fn parse(text: &str) -> Option<Self> {
        let foreign = |c: char| c.is_whitespace() || "@/\\?#%".contains(c);
        let Text(text) = Text::parse(text)?;
        (!text.contains(foreign)).then_some(Self(text))
    }
}

/// A name without any white space, as `CLIENT SETNAME` takes it.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl Value for Name {
    fn expected() -> String {
        "a name of printable ASCII characters without spaces".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| Self(text.to_owned()))
    }
}

/// A comma-separated list of names; empty parts do not count.
#[derive(Clone, Debug)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    fn expected() -> String {
        "names separated by commas".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let names = names.map(|name| Text::parse(name).map(|text| text.0));
        names.collect::<Option<_>>().map(Self)
    }
}

/// Where evicted messages are put.
#[derive(Clone, Debug)]
pub struct ArchivePlace(pub Archive);

impl Value for ArchivePlace {
    fn expected() -> String {
        "the absolute path of a directory, or list: and the name of a list".into()
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(list) = text.strip_prefix("list:") {
            let list = Text::parse(list)?.0;
            return (!list.trim().is_empty()).then_some(Self(Archive::List(list)));
        }
        let path = PathBuf::from(text);
        path.is_absolute().then_some(Self(Archive::Directory(path)))
    }
}

impl Value for PathBuf {
    fn expected() -> String {
        "a path".into()
    }

    fn parse(text: &str) -> Option<Self> {
        Text::parse(text).map(|text| text.0.into())
    }
}

impl Value for SecretString {
    const SECRET: bool = true;

    fn expected() -> String {
        "a secret of printable characters".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned().into())
    }
}

/// A secret that can travel in an HTTP header.
#[derive(Clone, Debug)]
pub struct HeaderSecret(pub SecretString);

impl Value for HeaderSecret {
    const SECRET: bool = true;

    fn expected() -> String {
        "a secret of printable ASCII characters".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
            .then(|| Self(text.to_owned().into()))
    }
}

/// A key that others show to us in an HTTP header, too long to be guessed.
#[derive(Clone, Debug)]
pub struct AccessKey(pub SecretString);

impl Value for AccessKey {
    const SECRET: bool = true;

    fn expected() -> String {
        "a key of 16 to 512 printable ASCII characters without spaces".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = (16..=512).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| Self(text.to_owned().into()))
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// At this address; 0.0.0.0 and :: are all of them.
    Address(IpAddr),
    /// Nowhere.
    None,
}

impl Value for Bind {
    fn expected() -> String {
        "an IP address, or none".into()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("none") {
            return Some(Self::None);
        }
        text.parse().ok().map(Self::Address)
    }
}

/// An `http://` or `https://` address with a host. It may hold secrets, so it is never shown whole.
#[derive(Clone, Debug)]
pub struct HttpUrl(pub Url);

impl Value for HttpUrl {
    const SECRET: bool = true;

    fn expected() -> String {
        "an http:// or https:// address".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(Self(url))
    }
}

/// The address of a Redis server.
#[derive(Clone, Debug)]
pub struct RedisUrl(pub Url);

impl Value for RedisUrl {
    const SECRET: bool = true;

    fn expected() -> String {
        "a redis://, rediss://, valkey://, valkeys:// or unix:// address with a database number at most".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let known = match url.scheme() {
            "redis" | "rediss" | "valkey" | "valkeys" => url.has_host(),
            "unix" | "redis+unix" => !url.path().is_empty(),
            _ => false,
        };
        // The client's own reader knows the rest, the database number for one.
        let usable = || redis::IntoConnectionInfo::into_connection_info(url.clone()).is_ok();
        // A fragment would ask for a connection that is not verified.
        (known && url.fragment().is_none() && usable()).then_some(Self(url))
    }
}

/// The part of an HTTP address that cannot be a secret, for people to read.
#[must_use]
pub fn redacted(url: &Url) -> String {
    let rest = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    let origin = url.origin().ascii_serialization();
    format!("{origin}/{}", if rest { "..." } else { "" })
}

/// A Redis address without user, password and query, for people to read.
#[must_use]
pub fn redacted_redis(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither fails for an address with a host, and others have nothing to hide here.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// How much to log: a level by Python's or tracing's name, or tracing's filter syntax.
#[derive(Clone, Debug)]
pub struct LogFilter(pub String);

impl Value for LogFilter {
    fn expected() -> String {
        "DEBUG, INFO, WARNING, ERROR, CRITICAL or a filter like \"info,mutt_remediation=debug\""
            .into()
    }

    fn parse(text: &str) -> Option<Self> {
        let level = match text.to_ascii_lowercase().as_str() {
            "notset" | "trace" => "trace",
            "debug" => "debug",
            "info" => "info",
            "warning" | "warn" => "warn",
            "error" | "critical" | "fatal" => "error",
            "off" => "off",
            _ => {
                let filter = text.contains(['=', ',', ':', '[']).then_some(text)?;
                return tracing_subscriber::EnvFilter::try_new(filter)
                    .is_ok()
                    .then(|| Self(filter.to_owned()));
            }
        };
        // Below warnings, libraries would talk of every connection and byte.
        Some(Self(match level {
            "trace" | "debug" | "info" => format!("warn,mutt_remediation={level}"),
            other => other.to_owned(),
        }))
    }
}
