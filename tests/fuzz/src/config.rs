//! The environment, from pairs to a configuration or to what is wrong with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use mutt_remediation::config::{Config, Problems, variables};
use mutt_remediation::link::Link;
use secrecy::ExposeSecret;

/// Stands in secrets only, so it must not be seen.
const MARK: &str = "hush-7d1c";

const SECRETS: [&str; 7] = [
    "PROMETHEUS_TOKEN",
    "PROMETHEUS_PASSWORD",
    "NOTIFY_HMAC_SECRET",
    "REDIS_PASSWORD",
    "REDIS_PASSWORD_NEXT",
    "REDIS_SENTINEL_PASSWORD",
    "MOOG_API_KEY",
];

/// Addresses, in which what stands before an @ and what ?key= is set to are secrets.
const ADDRESSES: [&str; 9] = [
    "NOTIFY_URLS",
    "NOTIFY_CONSOLE_URL",
    "REDIS_HOST",
    "REDIS_URL",
    "REDIS_SENTINELS",
    "REDIS_CLUSTER_NODES",
    "MOOG_WEBHOOK_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PROMETHEUS_URL",
];

/// Each line is a pair, `NAME=text`.
pub fn check(data: &[u8]) {
    // A fuzzer that has learnt the mark may put it where it is no secret.
    if data.windows(4).any(|part| part == &MARK.as_bytes()[..4]) {
        return;
    }
    let mut pairs = BTreeMap::new();
    for line in data.split(|byte| *byte == b'\n').take(40) {
        let Some(at) = line.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let name = String::from_utf8_lossy(&line[..at]).into_owned();
        let text = match String::from_utf8(line[at + 1..].to_vec()) {
            Ok(text) => marked(&name, &text).into_bytes(),
            Err(bytes) => bytes.into_bytes(),
        };
        pairs.insert(name, text);
    }
    match load(&pairs) {
        Ok(config) => {
            sound(&config);
            told(&config, &pairs);
        }
        Err(Problems(problems)) => {
            assert!(!problems.is_empty());
            for problem in problems {
                one_line_without_secrets(&problem);
                let named = variables::all().any(|variable| problem.contains(variable.name));
                let of_source = problem.contains("SOURCE_");
                assert!(named || of_source, "{problem:?} names no variable");
            }
        }
    }
}

fn load(pairs: &BTreeMap<String, Vec<u8>>) -> Result<Config, Problems> {
    let pair = |(name, text): (&String, &Vec<u8>)| {
        (OsString::from(name), OsString::from_vec(text.clone()))
    };
    // No file is opened, whatever is named.
    Config::load_with(pairs.iter().map(pair), &|_| Err("no such file".into()))
}

fn marked(name: &str, text: &str) -> String {
    if SECRETS.contains(&name) && !text.trim().is_empty() {
        return format!("{}{MARK}", text.trim_end());
    }
    // The path of a socket may well hold an @.
    if ADDRESSES.contains(&name) && !text.contains("unix:") {
        return text
            .replace('@', &format!("{MARK}@"))
            .replace("?key=", &format!("?key={MARK}"));
    }
    text.to_owned()
}

fn one_line_without_secrets(text: &str) {
    assert!(!text.contains(MARK), "{text:?} shows a secret");
    assert!(!text.contains(['\n', '\r', '\u{1b}']), "{text:?}");
}

/// What was accepted can be used.
fn sound(config: &Config) {
    let mut drained = vec![];
    for source in &config.sources {
        let lists = &source.lists;
        assert!(lists.source != lists.target && lists.source != lists.dead);
        assert!(lists.target != lists.dead);
        assert!(!drained.contains(&&lists.source), "it is drained twice");
        drained.push(&lists.source);
        let settings = source.settings(&config.settings);
        assert!((1..=10_000).contains(&settings.batch_size));
        assert!(
            source
                .fields
                .poison
                .iter()
                .any(|name| name == "_remediation_count")
        );
        assert!(source.required_fields.iter().all(|name| !name.is_empty()));
    }
    assert!(config.stamp || !config.settings.adaptive);
    assert!(config.metrics_port != config.health_port || config.metrics_port == 0);
    let settings = &config.settings;
    assert!((1..=604_800).contains(&settings.interval.as_secs()));
    assert!((1..=10_000).contains(&settings.batch_size));
    assert!(settings.batches_per_cycle <= 1_000_000);
    assert!(settings.batch_pause <= Duration::from_secs(60));
    assert!(settings.max_poison_retries <= 1_000_000);
    assert!((0.0..=1.0).contains(&settings.max_bounce_ratio));
    assert!((0.0..=1.0).contains(&settings.poison_max_ratio));
    let pace = settings.pace();
    assert!((1..=pace.batch_size).contains(&pace.canary_size) && !pace.observe.is_zero());
    assert!((1..=536_870_912).contains(&config.batch_max_bytes));
    if let Some(probe) = &config.probe {
        assert!(matches!(probe.url.scheme(), "http" | "https") && probe.url.has_host());
        assert!((1..=300).contains(&probe.timeout.as_secs()));
    }

    let redis = &config.redis;
    assert!((1..=300).contains(&redis.timeout.as_secs()));
    if let Some(wait) = redis.wait {
        assert!(wait.replicas > 0 && !wait.timeout.is_zero() && wait.timeout < redis.timeout);
    }
    if let Some(sentinels) = &redis.sentinels {
        assert!(!sentinels.addresses.is_empty() && !sentinels.primary.is_empty());
        assert!(redis.cluster.is_empty(), "sentinels and a cluster");
    }
    let secrets = redis.passwords.iter();
    assert!(secrets.into_iter().all(|p| !p.expose_secret().is_empty()));
    assert!(redis.client_name.bytes().all(|b| b.is_ascii_graphic()));
    // With certificates it would read files.
    if redis.ca_cert.is_none() && redis.client_cert.is_none() {
        let link = Link::new(redis.clone(), drained[0]);
        link.check().expect("the client takes what was accepted");
    }
}

/// What is told of it is complete, hides the secrets, and can be set again.
fn told(config: &Config, pairs: &BTreeMap<String, Vec<u8>>) {
    config
        .warnings
        .iter()
        .for_each(|w| one_line_without_secrets(w));
    let names = config.effective.iter().map(|effective| &effective.name[..]);
    let names: Vec<&str> = names.filter(|name| !name.starts_with("SOURCE_")).collect();
    assert!(
        names
            .into_iter()
            .eq(variables::all().map(|variable| variable.name))
    );
    let mut same = pairs.clone();
    for effective in &config.effective {
        assert!(!effective.shown.contains(MARK), "{effective:?}");
        let hidden = ["REDIS_SENTINELS", "REDIS_CLUSTER_NODES"];
        if effective.from_environment && hidden.contains(&&effective.name[..]) {
            // These are shown as they were understood.
            same.insert(effective.name.clone(), effective.shown.clone().into());
        }
    }
    if same == *pairs {
        return;
    }
    let again = load(&same).expect("what is shown can be set");
    assert_eq!(again.effective, config.effective);
    assert_eq!(again.redis.cluster, config.redis.cluster);
}
