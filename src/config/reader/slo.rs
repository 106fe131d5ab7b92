//! The service level objectives: what they are, what is set of them, and whom to ask.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Reader;
use crate::config::sections::{PrometheusVars, SloVars};
use crate::config::value::{Flag, redacted};
use crate::slo::SloConfig;
use crate::slo::ask::{Access, PrometheusConfig};
use crate::slo::built_in::built_in;
use crate::slo::knobs::Knobs;
use crate::slo::objective::{FORWARDER, INGESTOR, Objective};
use crate::slo::openslo;

const URL: &str = "PROMETHEUS_URL";
const TOKEN: &str = "PROMETHEUS_TOKEN";
const USERNAME: &str = "PROMETHEUS_USERNAME";
const PASSWORD: &str = "PROMETHEUS_PASSWORD";
const CA: &str = "PROMETHEUS_CA_CERT_PATH";
const FILE: &str = "SLO_FILE";
const GATE: &str = "REPLAY_SLO_GATE";

/// What opens a file: its text, or why there is none.
pub(in crate::config) type Open<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

impl Reader {
    /// Whom to ask for the objectives, and how often.
    pub(in crate::config) fn slo(&mut self, vars: PrometheusVars) -> SloConfig {
        let url = self.optional(URL, vars.prometheus_url);
        if let Some(url) = &url {
            self.shown.insert(URL, redacted(&url.0));
        }
        let token = self.optional(TOKEN, vars.prometheus_token);
        let username = self.optional(USERNAME, vars.prometheus_username);
        let password = self.optional(PASSWORD, vars.prometheus_password);
        let ca_cert = self.optional(CA, vars.prometheus_ca_cert_path);
        let timeout = self.take("PROMETHEUS_TIMEOUT", vars.prometheus_timeout).0;
        let interval = self.take("SLO_INTERVAL", vars.slo_interval).0;
        let unknown_after = self.take("SLO_STALE_SECONDS", vars.slo_stale_seconds).0;
        let mut url = url.map(|url| url.0);
        if url.is_none() && !self.set.contains_key(URL) {
            let of_it = [TOKEN, USERNAME, PASSWORD, CA, "PROMETHEUS_TIMEOUT"];
            let of_objectives = [FILE, GATE, "SLO_INTERVAL", "SLO_STALE_SECONDS"];
            let set = |name: &&str| self.differs(name);
            let idle: Vec<_> = of_it.into_iter().chain(of_objectives).filter(set).collect();
            for name in idle {
                self.warn(&format!("{name} has no effect without {URL}"));
            }
        }
        // Else what is known would be forgotten before a slow Prometheus has answered again.
        let least = 2 * (interval + timeout);
        if url.is_some() && unknown_after < least {
            self.problems.push(format!(
                "SLO_STALE_SECONDS: \"{unknown_after}\" is less than twice SLO_INTERVAL ({interval}) and PROMETHEUS_TIMEOUT ({timeout}) together, which is {least}"
            ));
        }
        let from_url = url.as_mut().and_then(|url| {
            let user = super::percent_decoded(url.username());
            let password = url.password().map(super::percent_decoded);
            let user = user.expose_secret().to_owned();
            // Both can be taken out of an http or https address.
            let _ = (url.set_username(""), url.set_password(None));
            (!user.is_empty() || password.is_some()).then_some((user, password))
        });
        if let Some(url) = &url
            && (url.query().is_some() || url.fragment().is_some())
        {
            self.problems.push(format!(
                "{URL}: the value (not shown) has a query or a fragment, expected what /api/v1/query lies below"
            ));
        }
        let access = self.access(token, username.map(|name| name.0), password, from_url);
        SloConfig {
            prometheus: url.map(|url| PrometheusConfig {
                url,
                access,
                ca_cert,
                timeout: Duration::from_secs(timeout),
            }),
            interval: Duration::from_secs(interval),
            unknown_after: Duration::from_secs(unknown_after),
        }
    }

    fn access(
        &mut self,
        token: Option<crate::config::value::HeaderSecret>,
        username: Option<String>,
        password: Option<SecretString>,
        from_url: Option<(String, Option<SecretString>)>,
    ) -> Option<Access> {
        if let (Some(user), Some((of_url, _))) = (&username, &from_url)
            && user != of_url
            && !of_url.is_empty()
        {
            self.problems.push(format!(
                "{USERNAME} and the user in {URL} are two different ones: expected one of them"
            ));
        }
        let (user, password) = match (username, from_url) {
            (Some(user), of_url) => (
                Some(user),
                password.or(of_url.and_then(|(_, of_url)| of_url)),
            ),
            (None, Some((user, of_url))) => (
                Some(user).filter(|user| !user.is_empty()),
                password.or(of_url),
            ),
            (None, None) => (None, password),
        };
        match (token, user, password) {
            (Some(_), Some(_), _) => {
                self.problems.push(format!(
                    "{TOKEN} and {USERNAME} (or a user in {URL}) are both set: expected one way to sign in"
                ));
                None
            }
            (Some(token), None, None) => Some(Access::Bearer(token.0)),
            (None, Some(user), password) => Some(Access::Basic(user, password.unwrap_or_default())),
            (token, None, Some(_)) => {
                self.problems.push(format!(
                    "{USERNAME} is not set: expected the user of {PASSWORD}"
                ));
                token.map(|token| Access::Bearer(token.0))
            }
            (None, None, None) => None,
        }
    }

    /// The objectives, and what is set of them.
    pub(in crate::config) fn objectives(
        &mut self,
        vars: SloVars,
        asked: bool,
        open: Open<'_>,
    ) -> Knobs {
        let mut base = built_in();
        let file = self.optional(FILE, vars.slo_file);
        let own = file.map_or_else(Vec::new, |path| self.file(&path, &base, open));
        let own_period = own.iter().map(|one| one.name.clone()).collect();
        base.extend(own);
        let mut knobs = Knobs::new(base, own_period);
        knobs.asked = asked;
        let target = self.optional("SLO_INGEST_SUCCESS_TARGET", vars.slo_ingest_success_target);
        knobs.ingest_target = target.map(|target| target.0);
        let target = self.optional(
            "SLO_FORWARD_SUCCESS_TARGET",
            vars.slo_forward_success_target,
        );
        knobs.forward_target = target.map(|target| target.0);
        for (name, target) in [
            ("SLO_INGEST_SUCCESS_TARGET", INGESTOR),
            ("SLO_FORWARD_SUCCESS_TARGET", FORWARDER),
        ] {
            let mut objectives = knobs.objectives().into_iter();
            if let Some(one) = objectives.find(|one| one.name == target) {
                self.shown.insert(name, one.target.to_string());
            }
        }
        knobs.hours = self.take("SLO_WINDOW_HOURS", vars.slo_window_hours).0;
        knobs.warning = self
            .take("SLO_BURN_RATE_WARNING", vars.slo_burn_rate_warning)
            .0;
        knobs.critical = self
            .take("SLO_BURN_RATE_CRITICAL", vars.slo_burn_rate_critical)
            .0;
        let Flag(gate) = self.take(GATE, vars.replay_slo_gate);
        knobs.gate = gate;
        self.of_single_ones(&mut knobs);
        knobs
    }

    fn file(&mut self, path: &Path, built_in: &[Objective], open: Open<'_>) -> Vec<Objective> {
        let shown = path.display().to_string();
        let text = match open(path) {
            Ok(text) => text,
            Err(why) => {
                self.problems
                    .push(format!("{FILE}: {shown:?} cannot be read: {why}"));
                return vec![];
            }
        };
        let taken: Vec<&str> = built_in.iter().map(|one| one.name.as_str()).collect();
        openslo::read(&text, &taken).unwrap_or_else(|problems| {
            let named = problems
                .iter()
                .map(|problem| format!("{FILE} {shown}: {problem}"));
            self.problems.extend(named);
            vec![]
        })
    }

    /// What is set of one objective alone.
    fn of_single_ones(&mut self, knobs: &mut Knobs) {
        let every = knobs.every();
        let singles: Vec<_> = every.iter().filter(|knob| knob.is_single()).collect();
        for (name, text) in std::mem::take(&mut self.of_slos) {
            let key = name.to_ascii_lowercase();
            if let Some(knob) = singles.iter().find(|knob| knob.name == key) {
                if let Err(expected) = knob.apply(knobs, &text) {
                    let shown: String = text.chars().take(80).collect();
                    self.problems
                        .push(format!("{name}: {shown:?} is not {expected}"));
                }
                self.of_slos.insert(name, text);
                continue;
            }
            let known = every.iter().map(|knob| knob.name.to_ascii_uppercase());
            let fixed = ["SLO_FILE", "SLO_INTERVAL", "SLO_STALE_SECONDS"].map(str::to_owned);
            let nearest = known
                .chain(fixed)
                .min_by_key(|known| strsim::damerau_levenshtein(known, &name));
            // Others may have such variables too, so only near misses are ours to speak of.
            if let Some(nearest) = nearest
                && strsim::damerau_levenshtein(&nearest, &name) <= 6
            {
                let shown = name.escape_debug();
                self.warn(&format!(
                    "{shown} is not known and has no effect: did you mean {nearest}?"
                ));
            }
        }
    }
}
