//! Options that several commands share.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use url::Url;

use super::desk::Desk;
use super::refusal::Refusal;
use super::remote::Remote;
use super::screen::{Screen, remark};
use super::{clean, load, spell};
use crate::operate::Operator;
use crate::operate::wire::{FieldText, Filter, Named, Who};

const FILTER: &str = "Which messages";

/// The arguments of a command, and where it is carried out.
#[derive(Args, Clone, Debug)]
pub(crate) struct With<A: Args> {
    #[command(flatten)]
    pub(crate) arguments: A,
    #[command(flatten)]
    place: Place,
}

impl<A: Args> With<A> {
    /// The desk, the screen, and what is asked for.
    pub(crate) async fn open(self) -> anyhow::Result<(Desk, Screen, A)> {
        let desk = self.place.desk().await?;
        Ok((desk, Screen::new(self.place.json), self.arguments))
    }
}

/// Of a command that needs no arguments.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Nothing {}

/// Where a command is carried out, and how it answers.
#[derive(Args, Clone, Debug)]
struct Place {
    /// Ask the API of a daemon there, such as http://host:8400, with the key in REMEDIATION_API_KEY or in the file that REMEDIATION_API_KEY_FILE names; without it Redis itself is asked, by the daemon's own variables
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Where and how"
    )]
    url: Option<Url>,
    /// File with the API key
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "url",
        help_heading = "Where and how"
    )]
    key_file: Option<PathBuf>,
    /// Answer as one JSON document
    #[arg(long, global = true, help_heading = "Where and how")]
    json: bool,
}

impl Place {
    async fn desk(&self) -> anyhow::Result<Desk> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = user();
        if let Some(url) = &self.url {
            let key = self.key()?;
            let remote = Remote::new(url.clone(), key.as_deref(), &name)?;
            return Ok(Desk::Remote(remote));
        }
        let config = load().map_err(|problems| Refusal::usage(problems.to_string()))?;
        let from = "cli".to_owned();
        let mut operator = Box::new(Operator::new(&config));
        if config.dynamic
            && let Err(error) = operator.catch_up().await
            // Who does not answer will not answer the command either, which then says so.
            && error.is_answer()
        {
            let error = clean::line(&error.to_string());
            remark(&format!(
                "dynamic settings cannot be read, those of the environment count: {error}"
            ));
        }
        Ok(Desk::Here {
            operator,
            who: Who { name, from },
            dynamic: config.dynamic,
            slo: Box::new(config.slo),
        })
    }

    fn key(&self) -> anyhow::Result<Option<String>> {
        let variable = |name: &str| {
            let text = std::env::var_os(name)?.into_string().ok()?;
            (!text.trim().is_empty()).then(|| text.trim().to_owned())
        };
        if let Some(file) = &self.key_file {
            return key_in(file).map(Some);
        }
        if let Some(key) = variable("REMEDIATION_API_KEY") {
            return Ok(Some(key));
        }
        let file = variable("REMEDIATION_API_KEY_FILE");
        file.map(|file| key_in(Path::new(&file))).transpose()
    }
}

fn key_in(file: &Path) -> anyhow::Result<String> {
    let bad = |why: &str| Refusal::usage(format!("the key file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| bad(&error.to_string()))?;
    let key = text.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(bad("expected one key and nothing else").into());
    }
    Ok(key.to_owned())
}

/// Who sits here, for the audit: a hint, no proof.
fn user() -> String {
    let variable = |name: &str| {
        let text = std::env::var_os(name)?.into_string().ok()?;
        (!text.is_empty()).then_some(text)
    };
    // Behind sudo it is the person that counts.
    let name = variable("SUDO_USER").or_else(|| variable("USER"));
    let name = name.or_else(|| variable("LOGNAME")).unwrap_or_else(|| {
        let process = std::fs::metadata("/proc/self");
        process.map_or_else(|_| "somebody".into(), |own| format!("uid{}", own.uid()))
    });
    let host = gethostname::gethostname();
    let whole = format!("{name}@{}", host.to_string_lossy());
    let plain = whole.chars().filter(char::is_ascii_graphic);
    plain.take(64).collect()
}

/// Which messages are meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct FilterArgs {
    /// Why they lie there: failed, shed, retries_exhausted, malformed, incomplete, operator
    #[arg(long, help_heading = FILTER)]
    reason: Option<String>,
    /// Around for at least so long, such as 90s, 10m, 1h30m, 2d
    #[arg(long, value_name = "AGE", value_parser = spell::duration, help_heading = FILTER)]
    min_age: Option<u64>,
    /// Around for at most so long
    #[arg(long, value_name = "AGE", value_parser = spell::duration, help_heading = FILTER)]
    max_age: Option<u64>,
    /// Of this hostname
    #[arg(long, help_heading = FILTER)]
    host: Option<String>,
    /// With a member of this value, as text or as JSON spells it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = equal, help_heading = FILTER)]
    field: Vec<FieldText>,
    /// With a member that contains this text, in any case; may be repeated
    #[arg(long, value_name = "NAME~TEXT", value_parser = containing, help_heading = FILTER)]
    contains: Vec<FieldText>,
    /// With this text anywhere in their bytes
    #[arg(long, help_heading = FILTER)]
    text: Option<String>,
}

#[cfg(test)]
impl FilterArgs {
    pub(crate) fn of_reason(reason: Option<&str>) -> Self {
        Self {
            reason: reason.map(str::to_owned),
            min_age: None,
            max_age: None,
            host: None,
            field: vec![],
            contains: vec![],
            text: None,
        }
    }
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        Self {
            reason: args.reason,
            min_age: args.min_age,
            max_age: args.max_age,
            host: args.host,
            field: args.field,
            contains: args.contains,
            text: args.text,
        }
    }
}

/// A filter as the options that make it, for people.
pub(crate) fn shown(filter: &Filter) -> String {
    let mut parts = vec![];
    let mut add = |name: &str, value: Option<String>| {
        parts.extend(value.map(|value| format!("--{name} {value}")));
    };
    add("reason", filter.reason.clone());
    add("min-age", filter.min_age.map(spell::seconds));
    add("max-age", filter.max_age.map(spell::seconds));
    add("host", filter.host.clone());
    for field in &filter.field {
        add("field", Some(format!("{}={}", field.name, field.value)));
    }
    for field in &filter.contains {
        add("contains", Some(format!("{}~{}", field.name, field.value)));
    }
    add("text", filter.text.clone());
    if parts.is_empty() {
        return "--all".to_owned();
    }
    parts.join(" ")
}

fn equal(text: &str) -> Result<FieldText, String> {
    parted(text, '=')
}

fn containing(text: &str) -> Result<FieldText, String> {
    parted(text, '~')
}

fn parted(text: &str, sign: char) -> Result<FieldText, String> {
    match text.split_once(sign) {
        Some((name, value)) if !name.is_empty() => Ok(FieldText {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(format!("expected a name, {sign} and a text")),
    }
}

/// A message by its digest, or by enough of it, and where it was seen: `8f14e45fceea` or
/// `8f14e45fceea@1200`.
///
/// # Errors
/// What would have been right.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    let expected = || "expected 8 to 40 hexadecimal digits, as `ls` shows them".to_owned();
    let (digest, at) = match text.split_once('@') {
        None => (text, None),
        Some((digest, at)) => (digest, Some(at.parse().map_err(|_| expected())?)),
    };
    let digits = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || !(8..=40).contains(&digest.len()) {
        return Err(expected());
    }
    let digest = digest.to_ascii_lowercase();
    Ok(Named { digest, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_named_by_digest_and_place() {
        let digest = "8F14E45FCEEA";
        let plain = named(digest).expect("a name");
        assert_eq!((plain.digest.as_str(), plain.at), ("8f14e45fceea", None));
        assert_eq!(named("8f14e45f@12").expect("a name").at, Some(12));
        for bad in ["", "8f14e45", "8f14e45g", "8f14e45f@", "8f14e45f@-1"] {
            assert!(named(bad).is_err(), "{bad}");
        }
        assert!(named(&"a".repeat(41)).is_err());
    }

    #[test]
    fn members_are_parted_at_the_first_sign() {
        let field = equal("a=b=c").expect("a field");
        assert_eq!((field.name.as_str(), field.value.as_str()), ("a", "b=c"));
        assert_eq!(containing("a~").expect("a field").value, "");
        assert!(equal("=b").is_err());
        assert!(containing("a=b").is_err());
    }

    #[test]
    fn a_filter_is_shown_as_its_options() {
        let filter = Filter {
            min_age: Some(600),
            host: Some("sw1".into()),
            field: vec![equal("a=1").expect("a field")],
            ..Filter::default()
        };
        assert_eq!(shown(&filter), "--min-age 10m00s --host sw1 --field a=1");
        assert_eq!(shown(&Filter::default()), "--all");
    }

    #[test]
    fn a_key_file_holds_one_key() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "secret\n").expect("writable");
        assert_eq!(key_in(file.path()).expect("a key"), "secret");
        for bad in ["", "two keys", " \n"] {
            std::fs::write(file.path(), bad).expect("writable");
            let error = key_in(file.path()).expect_err("it is refused").to_string();
            assert!(!error.contains("two"), "{error}");
        }
    }
}
