//! The environment: what is accepted, refused, warned about and shown.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use mutt_remediation::config::{Config, Problems, variables};

mod api;
mod company;
mod notify;
mod sources;
mod trace;
mod values;

/// Of a variable that is there twice the last one counts.
fn read(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    let pair = |(name, text): &(&str, &str)| (OsString::from(name), OsString::from(text));
    Config::load(pairs.iter().map(pair))
}

fn load(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    read(pairs).map_err(|problems| problems.0)
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    load(pairs).expect_err("refused")
}

fn is_warned(pairs: &[(&str, &str)], start: &str) -> bool {
    let warnings = load(pairs).expect("valid").warnings;
    warnings.iter().any(|warning| warning.starts_with(start))
}

fn problem(name: &str, text: &str) -> String {
    let problems = load(&[(name, text)]).expect_err(name);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].clone()
}

#[test]
fn the_template_names_each_variable_once_with_its_default() {
    let template = std::fs::read_to_string(".env.template").expect("it exists");
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in template.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some((name, text)) = line.split_once('=')
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        {
            found.entry(name).or_default().push(text);
        }
    }
    for variable in variables::all() {
        assert_eq!(
            found.remove(variable.name),
            Some(vec![variable.default]),
            "{}",
            variable.name
        );
    }
    assert!(found.is_empty(), "not known: {found:?}");
    let active = template.lines().filter(|line| !line.starts_with('#'));
    let pairs: Vec<(&str, &str)> = active.filter_map(|line| line.split_once('=')).collect();
    let config = load(&pairs).expect("the template is valid");
    let unset = load(&[]).expect("the defaults are valid");
    assert_eq!(config.settings, unset.settings);
    assert_eq!(config.sources, unset.sources);
    assert_eq!(config.warnings, unset.warnings);
}

#[test]
fn every_variable_is_read_and_a_bad_value_is_reported_under_its_name() {
    for variable in variables::all() {
        // No text at all is right for every one of them: a control character is in none.
        let problem = problem(variable.name, "\u{7}bad");
        assert!(
            problem.starts_with(&format!("{}: ", variable.name)),
            "{problem}"
        );
        assert!(problem.contains(" is not "), "{problem}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_value_and_expectation() {
    let problems = load(&[
        ("REDIS_PORT", "70000"),
        ("REMEDIATION_INTERVAL", "soon"),
        ("REPLAY_STAMP", "maybe"),
        ("MOOG_WEBHOOK_URL", "ftp://user:hush@host/"),
        ("REDIS_TLS_CLIENT_CERT", "/a.crt"),
    ])
    .expect_err("five problems");
    assert_eq!(problems.len(), 5, "{problems:?}");
    let text = problems.join("\n");
    assert!(text.contains(r#"REDIS_PORT: "70000" is not a whole number from 1 to 65535"#));
    assert!(text.contains(r#"REMEDIATION_INTERVAL: "soon" is not a whole number"#));
    assert!(text.contains(r#"REPLAY_STAMP: "maybe" is not true or false"#));
    assert!(
        text.contains(
            "MOOG_WEBHOOK_URL: the value (not shown) is not an http:// or https:// address"
        )
    );
    assert!(text.contains("REDIS_TLS_CLIENT_KEY is not set"));
    assert!(!text.contains("hush"));
}

#[test]
fn lists_must_be_three_different_ones_and_ports_two() {
    for pairs in [
        &[("ALERTER_DLQ_NAME", "a"), ("INGEST_QUEUE_NAME", "a")][..],
        &[("ALERTER_DLQ_NAME", "a"), ("DEAD_LETTER_QUEUE", "a")],
        &[("INGEST_QUEUE_NAME", "a"), ("DEAD_LETTER_QUEUE", "a")],
        &[("METRICS_PORT_REMEDIATION", "8087")],
    ] {
        let problems = load(pairs).expect_err("refused");
        assert!(
            problems[0].contains("expected two different"),
            "{problems:?}"
        );
    }
}

#[test]
fn an_empty_value_counts_as_unset() {
    let config = load(&[
        ("REDIS_PORT", ""),
        ("MAX_POISON_RETRIES", " "),
        ("MOOG_API_KEY", ""),
    ]);
    let config = config.expect("valid");
    assert_eq!(config.redis.url.as_str(), "redis://localhost:6379/0");
    assert_eq!(config.settings.max_poison_retries, 3);
}

#[test]
fn booleans_are_read_in_every_usual_spelling() {
    for (text, on) in [
        ("TRUE", true),
        ("1", true),
        ("Yes", true),
        ("on", true),
        ("False", false),
        ("0", false),
        ("NO", false),
        ("off", false),
    ] {
        let config = load(&[("REMEDIATION_ENABLED", text)]).expect("valid");
        assert_eq!(config.settings.enabled, on, "{text}");
    }
}

#[test]
fn a_redis_url_wins_and_tls_makes_it_speak_tls() {
    let url = |pairs: &[(&str, &str)]| load(pairs).expect("valid").redis.url.to_string();
    assert_eq!(
        url(&[("REDIS_HOST", "::1"), ("REDIS_DB", "3")]),
        "redis://[::1]:6379/3"
    );
    assert_eq!(
        url(&[("REDIS_TLS_ENABLED", "on")]),
        "rediss://localhost:6379/0"
    );
    let both = [
        ("REDIS_URL", "redis://other:7000/2"),
        ("REDIS_HOST", "ignored"),
    ];
    assert_eq!(url(&both), "redis://other:7000/2");
    let valkey = ("REDIS_URL", "valkey://other:7000/2");
    assert_eq!(url(&[valkey]), "valkey://other:7000/2");
    assert_eq!(
        url(&[valkey, ("REDIS_TLS_ENABLED", "on")]),
        "valkeys://other:7000/2"
    );
    assert!(problem("REDIS_HOST", "a/b").contains("is not a host name"));
    for address in [
        "redis://:hush@host:6379",
        ":hush@host",
        "hush@host",
        ":hush\u{7}",
    ] {
        let problem = problem("REDIS_HOST", address);
        assert!(!problem.contains("hush"), "{problem}");
    }
    let warnings = load(&both).expect("valid").warnings.join("\n");
    assert!(warnings.contains("REDIS_HOST has no effect: REDIS_URL wins"));
    let part = problem("REDIS_PORT", ":hush@host");
    assert!(!part.contains("hush"), "{part}");
    assert!(problem("REDIS_PORT", "tcp://10.0.0.1:6379").contains("enableServiceLinks: false"));
}

#[test]
fn a_misspelt_name_is_warned_about_with_the_nearest_known_one() {
    let warnings = |name| load(&[(name, "1")]).expect("valid").warnings.join("\n");
    assert!(warnings("REMEDIATION_BATCHSIZE").contains("did you mean REMEDIATION_BATCH_SIZE?"));
    assert!(warnings("REPLAY_STAMPS").contains("did you mean REPLAY_STAMP?"));
    assert!(warnings("MOOG_WEBHOOK_UR").contains("did you mean MOOG_WEBHOOK_URL?"));
    assert!(warnings("POISON_MAX_RATO").contains("did you mean POISON_MAX_RATIO?"));
    for theirs in [
        "MOOG_MAX_RETRIES",
        "REMEDIATION_SERVICE_HOST",
        "REMEDIATION_PORT_8087_TCP",
        "PATH",
    ] {
        assert!(!warnings(theirs).contains(theirs), "{theirs}");
    }
}

#[test]
fn a_value_that_is_no_text_is_named() {
    let pair = (OsString::from("REDIS_HOST"), OsString::from_vec(vec![0xff]));
    let problems = Config::load([pair]).expect_err("refused");
    assert!(problems.0[0].contains("REDIS_HOST is not valid UTF-8"));
}

#[test]
fn sentinels_are_read_with_their_own_secrets() {
    let config = load(&[
        ("REDIS_SENTINELS", "sentinel-0:7, [::1]"),
        ("REDIS_SENTINEL_MASTER", "mymaster"),
        ("REDIS_SENTINEL_USERNAME", "asker"),
        ("REDIS_SENTINEL_PASSWORD", "hush-sentinel"),
        ("REDIS_PASSWORD", "hush-data"),
        ("REDIS_TLS_ENABLED", "true"),
        ("REDIS_DB", "3"),
        ("REDIS_WAIT_REPLICAS", "2"),
        ("REDIS_WAIT_TIMEOUT_MS", "4999"),
    ])
    .expect("valid");
    let sentinels = config.redis.sentinels.as_ref().expect("sentinels");
    let addresses: Vec<String> = sentinels
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["sentinel-0:7", "[::1]:26379"]);
    assert_eq!(sentinels.primary, "mymaster");
    assert_eq!(sentinels.username.as_deref(), Some("asker"));
    assert_eq!(config.redis.url.as_str(), "rediss://localhost:6379/3");
    let wait = config.redis.wait.expect("a wait");
    assert_eq!((wait.replicas, wait.timeout.as_millis()), (2, 4_999));
    let moogsoft = |warning: &String| warning.contains("MOOG_WEBHOOK_URL");
    assert!(
        config.warnings.iter().all(moogsoft),
        "{:?}",
        config.warnings
    );
    let shown = format!("{:?} {:?}", config.effective, config.redis);
    assert!(shown.contains("sentinel-0:7,[::1]:26379"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
    assert!(load(&[]).expect("valid").redis.wait.is_none());
}

#[test]
fn what_does_not_go_with_sentinels_is_refused_or_warned_about() {
    const MASTER: (&str, &str) = ("REDIS_SENTINEL_MASTER", "m");
    const SENTINELS: (&str, &str) = ("REDIS_SENTINELS", "a");
    for (pairs, told) in [
        (vec![SENTINELS], "REDIS_SENTINEL_MASTER is not set"),
        (vec![MASTER], "REDIS_SENTINELS is not set"),
        (
            vec![SENTINELS, MASTER, ("REDIS_URL", "redis://:hush@b")],
            "REDIS_URL and REDIS_SENTINELS are both set",
        ),
        (
            vec![MASTER, ("REDIS_SENTINELS", "redis://:hush@a")],
            "REDIS_SENTINELS: the value (not shown) is not a list of host:port",
        ),
        (
            vec![("REDIS_WAIT_REPLICAS", "1"), ("REDIS_TIMEOUT", "1")],
            "REDIS_WAIT_TIMEOUT_MS: \"1000\" is not less than REDIS_TIMEOUT, which is 1 s",
        ),
    ] {
        let problems = load(&pairs).expect_err(told);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(told), "{problems:?}");
        assert!(!problems[0].contains("hush"), "{problems:?}");
    }

    for (pairs, told) in [
        (
            vec![SENTINELS, MASTER, ("REDIS_HOST", "b")],
            "REDIS_HOST has no effect: REDIS_SENTINELS wins",
        ),
        (
            vec![SENTINELS, MASTER, ("REDIS_PORT", "1")],
            "REDIS_PORT has no effect: REDIS_SENTINELS wins",
        ),
        (
            vec![SENTINELS, MASTER, ("REDIS_SENTINEL_USERNAME", "u")],
            "REDIS_SENTINEL_USERNAME has no effect without REDIS_SENTINEL_PASSWORD",
        ),
        (
            vec![("REDIS_SENTINEL_PASSWORD", "hush")],
            "REDIS_SENTINEL_PASSWORD has no effect without REDIS_SENTINELS",
        ),
    ] {
        let warnings = load(&pairs).expect("valid").warnings;
        assert!(warnings.iter().any(|w| w == told), "{warnings:?}");
    }
    let short = [("REDIS_TIMEOUT", "1")];
    assert!(load(&short).is_ok(), "nobody waits for replicas");
}
