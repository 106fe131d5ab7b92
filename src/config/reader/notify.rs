//! Whom to tell, and what.

use std::time::Duration;

use secrecy::SecretString;

use super::Reader;
use crate::config::sections::NotifyVars;
use crate::config::value::Value;
use crate::notify::NotifyConfig;
use crate::notify::event::Event;
use crate::notify::receiver::{Kind, Receiver, scheme};
use crate::notify::watcher::Rules;
use crate::notify::wire::{Teller, is_secret};
use url::Url;

const URLS: &str = "NOTIFY_URLS";
const SECRET: &str = "NOTIFY_HMAC_SECRET";
const CONSOLE: &str = "NOTIFY_CONSOLE_URL";

/// Receivers, at most.
const MOST: usize = 16;

/// Addresses of receivers, each read on its own, so that every bad one can be named.
#[derive(Clone, Debug)]
pub(in crate::config) struct Receivers(Vec<Result<Receiver, Refused>>);

/// What is wrong with an address, without any part of it but its scheme.
#[derive(Clone, Debug)]
struct Refused {
    shown: String,
    expected: String,
}

impl Value for Receivers {
    const SECRET: bool = true;

    fn expected() -> String {
        "addresses separated by commas or blanks".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        let parts = parts.filter(|part| !part.is_empty());
        let read = parts.map(|part| {
            Receiver::parse(part).map_err(|expected| Refused {
                shown: scheme(part).map_or_else(
                    || "not shown".to_owned(),
                    |scheme| format!("{scheme}://..., not shown"),
                ),
                expected,
            })
        });
        let read: Vec<_> = read.collect();
        (!read.is_empty()).then_some(Self(read))
    }
}

/// A secret to sign with.
#[derive(Clone, Debug)]
pub(in crate::config) struct HmacSecret(SecretString);

impl Value for HmacSecret {
    const SECRET: bool = true;

    fn expected() -> String {
        "16 to 512 printable ASCII characters without blanks, or whsec_ and the Base64 of 16 bytes or more".into()
    }

    fn parse(text: &str) -> Option<Self> {
        is_secret(text).then(|| Self(text.to_owned().into()))
    }
}

/// What the console's pages are below. It is in every message, so that it may hold no secret.
#[derive(Clone, Debug)]
pub(in crate::config) struct Base(String);

impl Value for Base {
    const SECRET: bool = true;

    fn expected() -> String {
        "an http:// or https:// address without user, password, query and fragment".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let nothing_more = url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let base = url.as_str().trim_end_matches('/');
        let base = base.trim_end_matches("/console").trim_end_matches('/');
        (nothing_more && nobody && web).then(|| Self(base.to_owned()))
    }
}

/// Names of events, separated by commas.
#[derive(Clone, Debug)]
pub(in crate::config) struct Events(Vec<Event>);

impl Value for Events {
    fn expected() -> String {
        let names = Event::ALL.map(Event::as_str);
        format!("names separated by commas, out of {}", names.join(", "))
    }

    fn parse(text: &str) -> Option<Self> {
        let names = text.split(',').map(str::trim);
        let names = names.filter(|name| !name.is_empty());
        let events: Option<Vec<Event>> = names.map(Event::named).collect();
        events.filter(|events| !events.is_empty()).map(Self)
    }
}

impl Reader {
    /// Whom to tell, and what; nobody where no address is set.
    pub(in crate::config) fn notify(
        &mut self,
        vars: NotifyVars,
        instance: &str,
    ) -> Option<NotifyConfig> {
        let urls = self.optional(URLS, vars.notify_urls);
        let any = urls.is_some();
        let receivers = self.receivers(urls);
        let secret = self.optional(SECRET, vars.notify_hmac_secret);
        let console = self.optional(CONSOLE, vars.notify_console_url);
        if let Some(Base(base)) = &console {
            self.shown.insert(CONSOLE, base.clone());
        }
        let seconds = |value: u64| Duration::from_secs(value);
        let poison = vars.notify_poison_per_minute;
        let age = vars.notify_dead_list_age_hours;
        let rules = Rules {
            poison_per_minute: self.take("NOTIFY_POISON_PER_MINUTE", poison).0,
            gate_shut: seconds(
                self.take("NOTIFY_GATE_SHUT_SECONDS", vars.notify_gate_shut_seconds)
                    .0,
            ),
            dead_list_size: self
                .take("NOTIFY_DEAD_LIST_SIZE", vars.notify_dead_list_size)
                .0,
            dead_list_age: seconds(self.take("NOTIFY_DEAD_LIST_AGE_HOURS", age).0 * 3_600),
            redis_lost: seconds(
                self.take("NOTIFY_REDIS_LOST_SECONDS", vars.notify_redis_lost_seconds)
                    .0,
            ),
            calm: seconds(self.take("NOTIFY_CALM_SECONDS", vars.notify_calm_seconds).0),
            events: self
                .optional("NOTIFY_EVENTS", vars.notify_events)
                .map_or_else(|| Event::ALL.to_vec(), |events| events.0),
        };
        let group = self.take("NOTIFY_GROUP_SECONDS", vars.notify_group_seconds);
        let per_hour = self.take("NOTIFY_MAX_PER_HOUR", vars.notify_max_per_hour);
        let signs = receivers.iter().any(|one| one.kind() == Kind::Webhook);
        if signs && secret.is_none() && !self.set.contains_key(SECRET) {
            self.problems.push(format!(
                "{SECRET} is not set: expected a secret that the webhook+ address of {URLS} shares with us"
            ));
        }
        if secret.is_some() && any && !signs {
            self.warnings.push(format!(
                "{SECRET} has no effect: {URLS} has no webhook+ address"
            ));
        }
        if !any {
            // Who has copied the template has set the defaults, and meant nothing by it.
            let meant = crate::config::variables::all()
                .filter(|variable| variable.name.starts_with("NOTIFY_"))
                .filter(|variable| {
                    let text = self.set.get(variable.name).map(|text| text.trim());
                    text.is_some_and(|text| text != variable.default)
                });
            let meant =
                meant.map(|variable| format!("{} has no effect without {URLS}", variable.name));
            self.warnings.extend(meant.collect::<Vec<_>>());
            return None;
        }
        Some(NotifyConfig {
            receivers,
            secret: secret.map(|secret| secret.0),
            teller: Teller {
                instance: instance.to_owned(),
                console: console.map(|base| base.0),
                test: false,
            },
            rules,
            group: seconds(group.0),
            per_hour: u32::try_from(per_hour.0).unwrap_or(u32::MAX),
        })
    }

    /// Those that can be told, after noting what is wrong with the others.
    fn receivers(&mut self, urls: Option<Receivers>) -> Vec<Receiver> {
        let mut receivers: Vec<Receiver> = vec![];
        for (place, one) in (1..).zip(urls.into_iter().flat_map(|urls| urls.0)) {
            match one {
                Err(Refused { shown, expected }) => self.problems.push(format!(
                    "{URLS}: address {place} ({shown}) is not one of a receiver: {expected}"
                )),
                Ok(receiver) if receivers.contains(&receiver) => self.warnings.push(format!(
                    "{URLS}: address {place} ({receiver}) is there twice and counts once"
                )),
                Ok(receiver) => {
                    if receiver.is_in_the_clear() {
                        self.warnings.push(format!(
                            "{URLS}: address {place} ({receiver}) is spoken to without TLS: what is sent there can be read on the way, its password included"
                        ));
                    }
                    receivers.push(receiver);
                }
            }
        }
        if receivers.len() > MOST {
            self.problems.push(format!(
                "{URLS}: these {} addresses are not what was expected: {MOST} at most",
                receivers.len()
            ));
        }
        if !receivers.is_empty() {
            let shown: Vec<String> = receivers.iter().map(ToString::to_string).collect();
            self.shown.insert(URLS, shown.join(" "));
        }
        receivers
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_base_may_hold_no_secret_and_ends_without_the_console() {
        let base = |text: &str| Base::parse(text).map(|base| base.0);
        assert_eq!(
            base("https://m.example:8400/").as_deref(),
            Some("https://m.example:8400")
        );
        assert_eq!(
            base("https://m.example/x/console/").as_deref(),
            Some("https://m.example/x")
        );
        for bad in [
            "",
            "m.example",
            "ftp://m/",
            "https://u:p@m/",
            "https://m/?a=b",
            "https://m/#a",
        ] {
            assert_eq!(base(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_kept_as_it_is() {
        let secret = HmacSecret::parse("0123456789abcdef").expect("long enough");
        assert_eq!(secret.0.expose_secret(), "0123456789abcdef");
    }
}
