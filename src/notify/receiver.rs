//! Who is told, from the text of an address. Pure.
//!
//! An address may hold a secret in its user, its path or its query, so that none of these is ever
//! shown, and an address that cannot be read is not shown at all.

use std::fmt;

use secrecy::SecretString;
use url::{Host, Url};

/// The kinds of receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that takes signed JSON.
    Webhook,
    /// Slack, or what takes its webhooks.
    Slack,
    /// Alertmanager.
    Alertmanager,
    /// A mail server.
    Email,
}

/// One who is told.
#[derive(Clone)]
pub struct Receiver {
    /// Where, and how.
    pub target: Target,
    shown: String,
}

/// Where, and how.
#[derive(Clone)]
pub enum Target {
    /// Signed JSON to this address.
    Webhook(Url),
    /// Slack's JSON to this address.
    Slack(Url),
    /// Alerts to this address, with these labels besides ours.
    Alertmanager {
        /// Of `api/v2/alerts`.
        url: Url,
        /// Names and values.
        labels: Vec<(String, String)>,
    },
    /// Mail.
    Email(Box<Smtp>),
}

/// A mail server, and who writes to whom.
#[derive(Clone)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is on this machine.
    pub loopback: bool,
    /// How the line is secured.
    pub tls: Tls,
    /// User and password.
    pub login: Option<(String, SecretString)>,
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
}

/// How the line to a mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From its first byte on.
    Implicit,
    /// Before anything is said; without it nothing is.
    StartTls,
    /// Not at all.
    None,
}

/// What an address begins with, by kind.
const SCHEMES: [(&str, &str, Kind); 6] = [
    ("webhook+https", "https", Kind::Webhook),
    ("webhook+http", "http", Kind::Webhook),
    ("slack+https", "https", Kind::Slack),
    ("slack+http", "http", Kind::Slack),
    ("alertmanager+https", "https", Kind::Alertmanager),
    ("alertmanager+http", "http", Kind::Alertmanager),
];

/// Labels of ours, which an address may not set.
pub const LABELS: [&str; 5] = ["alertname", "event", "severity", "subject", "test"];

impl Kind {
    /// Every kind, for closed label sets.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Slack, Self::Alertmanager, Self::Email];

    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
            Self::Email => "email",
        }
    }
}

impl Receiver {
    /// The receiver at this address.
    ///
    /// # Errors
    /// What was expected instead, without any part of the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "smtp" || scheme == "smtps" {
            return mail(text, &scheme);
        }
        let known = SCHEMES.iter().find(|(name, ..)| *name == scheme);
        let (name, http, kind) = known.ok_or_else(unknown)?;
        // A web address may begin with any number of slashes, and would take a path for its host.
        let url = Url::parse(&format!("{http}://{rest}")).ok();
        let url = url.filter(|_| !rest.starts_with(['/', '\\']));
        let url = url.filter(|url| url.has_host() && url.fragment().is_none());
        let mut url =
            url.ok_or_else(|| format!("expected a host, and no fragment, behind {name}://"))?;
        let shown = format!("{name}{}", &origin(&url)[http.len()..]);
        let target = match kind {
            Kind::Webhook => Target::Webhook(url),
            Kind::Slack => Target::Slack(url),
            Kind::Alertmanager | Kind::Email => {
                let labels = labels(&url)?;
                url.set_query(None);
                let path = url.path().trim_end_matches('/');
                let path = path.strip_suffix("/api/v2/alerts").unwrap_or(path);
                url.set_path(&format!("{path}/api/v2/alerts"));
                Target::Alertmanager { url, labels }
            }
        };
        Ok(Self { target, shown })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.target {
            Target::Webhook(_) => Kind::Webhook,
            Target::Slack(_) => Kind::Slack,
            Target::Alertmanager { .. } => Kind::Alertmanager,
            Target::Email(_) => Kind::Email,
        }
    }
}

impl Receiver {
    /// Whether what is sent there can be read on the way, although it is mail or holds a password.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        match &self.target {
            Target::Email(smtp) => smtp.tls == Tls::None && !smtp.loopback,
            Target::Webhook(url) | Target::Slack(url) | Target::Alertmanager { url, .. } => {
                let login = !url.username().is_empty() || url.password().is_some();
                url.scheme() == "http" && login && !is_loopback(url)
            }
        }
    }
}

/// The part of an address that cannot be a secret.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shown).finish()
    }
}

impl PartialEq for Receiver {
    /// Whether two addresses lead to the same place.
    fn eq(&self, other: &Self) -> bool {
        match (&self.target, &other.target) {
            (Target::Webhook(a), Target::Webhook(b)) | (Target::Slack(a), Target::Slack(b)) => {
                a == b
            }
            (Target::Alertmanager { url: a, .. }, Target::Alertmanager { url: b, .. }) => a == b,
            (Target::Email(a), Target::Email(b)) => {
                (&a.host, a.port, &a.to) == (&b.host, b.port, &b.to)
            }
            _ => false,
        }
    }
}

/// The scheme of an address that cannot be read, if it is one: all that may be shown of it.
#[must_use]
pub fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+';
    (scheme.len() <= 20 && scheme.bytes().all(plain)).then_some(scheme)
}

fn unknown() -> String {
    "expected webhook+https://, slack+https://, alertmanager+https:// (or +http:// of each), smtps:// or smtp://".into()
}

/// Scheme, host and port; and whether there is more.
fn origin(url: &Url) -> String {
    let rest = url.path() != "/" || url.query().is_some();
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let rest = if rest { "..." } else { "" };
    format!("{}://{host}{port}/{rest}", url.scheme())
}

fn labels(url: &Url) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = vec![];
    for (name, value) in url.query_pairs() {
        let mut bytes = name.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let sound = starts && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let again = found.iter().any(|(known, _)| *known == name);
        let plain = !value.is_empty() && value.len() <= 200 && !value.contains(char::is_control);
        if !sound || !plain || again || LABELS.contains(&&*name) || found.len() == 10 {
            return Err(format!(
                "expected at most ten labels as ?name=value behind alertmanager+..., each once, with names of letters, digits and _ other than {}",
                LABELS.join(", ")
            ));
        }
        found.push((name.into_owned(), value.into_owned()));
    }
    Ok(found)
}

fn mail(text: &str, scheme: &str) -> Result<Receiver, String> {
    let form = || {
        "expected smtps://user:password@host/?from=a@b&to=c@d, or smtp:// for STARTTLS, with every special character percent-encoded".to_owned()
    };
    let url = Url::parse(text).ok();
    let url = url.filter(|url| {
        let bare = matches!(url.path(), "" | "/");
        url.has_host() && bare && url.fragment().is_none()
    });
    let url = url.ok_or_else(form)?;
    let host = url.host_str().unwrap_or_default();
    // The url crate knows no hosts of schemes that it does not know.
    let host = Url::parse(&format!("http://{host}/")).map_err(|_| form())?;
    let loopback = is_loopback(&host);
    let host = host.host_str().unwrap_or_default();
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let (mut from, mut to, mut plaintext) = (None, vec![], None);
    for (name, value) in pairs(url.query().unwrap_or_default()) {
        match &*name {
            "from" if from.is_none() => from = Some(value),
            "to" => to.push(value),
            "tls" if plaintext.is_none() && scheme == "smtp" => {
                plaintext = Some(match &*value {
                    "none" => true,
                    "starttls" => false,
                    _ => return Err("expected tls=starttls or tls=none".into()),
                });
            }
            _ => return Err(form()),
        }
    }
    let from = from.ok_or_else(form)?;
    let addresses = std::iter::once(&from).chain(&to);
    if to.is_empty() || to.len() > 20 || !addresses.into_iter().all(|a| super::mail::is_address(a))
    {
        return Err(
            "expected one from= and 1 to 20 to=, each an address such as ops@example.org".into(),
        );
    }
    let tls = match (scheme, plaintext) {
        ("smtps", _) => Tls::Implicit,
        (_, Some(true)) => Tls::None,
        (_, None) if loopback => Tls::None,
        _ => Tls::StartTls,
    };
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (_, None) | ("", _) => return Err(form()),
        (user, Some(password)) => Some((decoded(user), decoded(password).into())),
    };
    let port = url.port().unwrap_or(match tls {
        Tls::Implicit => 465,
        Tls::StartTls => 587,
        Tls::None => 25,
    });
    let shown = if host.contains(':') {
        format!("{scheme}://[{host}]:{port}/...")
    } else {
        format!("{scheme}://{host}:{port}/...")
    };
    let smtp = Smtp {
        host,
        port,
        loopback,
        tls,
        login,
        from,
        to,
    };
    Ok(Receiver {
        target: Target::Email(Box::new(smtp)),
        shown,
    })
}

/// Names and values of a query, in which a plus is a plus, as mail addresses have it.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let text = percent_encoding::percent_decode_str(text);
    text.decode_utf8_lossy().into_owned()
}

/// Whether a host is this machine, by its name or address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
