//! What goes together, what does not, and what comes of it.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{is_warned, load, problems};

const NODES: (&str, &str) = ("REDIS_CLUSTER_NODES", "127.0.0.1:7000");
const GUARD: (&str, &str) = ("BACKPRESSURE_GUARD_ENABLED", "true");

#[test]
fn nothing_is_warned_about_by_default_but_the_probe_that_is_missing() {
    assert_eq!(
        load(&[]).expect("valid").warnings,
        ["MOOG_WEBHOOK_URL is not set: Moogsoft is not probed and counts as healthy"]
    );
}

#[test]
fn problems_are_counted_and_told_one_to_a_line() {
    let text = |pairs: &[(&str, &str)]| super::read(pairs).expect_err("refused").to_string();
    assert_eq!(
        text(&[("REDIS_DB", "x")]),
        "the configuration has 1 problem:\n  REDIS_DB: \"x\" is not a whole number from 0 to 2147483647"
    );
    let two = text(&[("REDIS_DB", "x"), ("REPLAY_PACE", "x")]);
    assert!(
        two.starts_with("the configuration has 2 problems:\n  "),
        "{two}"
    );
    assert_eq!(two.lines().count(), 3);
}

#[test]
fn ports_differ_unless_any_will_do() {
    let ports = |metrics, health| {
        let pairs = [
            ("METRICS_PORT_REMEDIATION", metrics),
            ("HEALTH_PORT_REMEDIATION", health),
        ];
        load(&pairs).map(|config| (config.metrics_port, config.health_port))
    };
    assert_eq!(ports("7", "8"), Ok((7, 8)));
    assert_eq!(ports("0", "0"), Ok((0, 0)));
    let told = ports("7", "7").expect_err("refused");
    assert_eq!(
        told,
        [
            "METRICS_PORT_REMEDIATION and HEALTH_PORT_REMEDIATION are both 7: expected two different ports"
        ]
    );
}

#[test]
fn what_makes_the_drain_useless_or_blind_is_warned_about_or_refused() {
    assert!(is_warned(
        &[("MAX_POISON_RETRIES", "0")],
        "MAX_POISON_RETRIES=0 sends every message"
    ));
    assert!(!is_warned(
        &[("MAX_POISON_RETRIES", "1")],
        "MAX_POISON_RETRIES"
    ));
    let adaptive = ("REPLAY_PACE", "adaptive");
    let bare = ("REPLAY_STAMP", "false");
    let told = problems(&[adaptive, bare]);
    assert!(
        told.len() == 1 && told[0].contains("needs REPLAY_STAMP=true"),
        "{told:?}"
    );
    assert!(load(&[adaptive]).expect("valid").settings.adaptive);
    let fixed = load(&[bare]).expect("valid");
    assert!(!fixed.settings.adaptive && !fixed.stamp);
}

#[test]
fn telemetry_is_as_the_variables_say() {
    let pairs = [
        ("LOG_JSON_ENABLED", "true"),
        ("OTEL_SERVICE_NAME", "drain"),
        ("SERVICE_VERSION", "9.9"),
        ("POD_NAME", "pod-3"),
        ("LOG_LEVEL", "ERROR"),
    ];
    let telemetry = load(&pairs).expect("valid").telemetry;
    assert!(telemetry.json);
    let texts = [
        telemetry.service,
        telemetry.version,
        telemetry.instance,
        telemetry.filter,
    ];
    assert_eq!(texts, ["drain", "9.9", "pod-3", "error"]);
    let telemetry = load(&[]).expect("valid").telemetry;
    assert_eq!(telemetry.version, env!("CARGO_PKG_VERSION"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux");
    assert_eq!(telemetry.instance, host.trim(), "the host's name");
}

#[test]
fn moogsoft_is_probed_where_there_is_an_address_and_nobody_forbids_it() {
    let url = ("MOOG_WEBHOOK_URL", "https://moog.example/in");
    let probe = load(&[url, ("MOOG_HEALTH_TIMEOUT", "7"), ("MOOG_API_KEY", "key")]);
    let probe = probe.expect("valid").probe.expect("a probe");
    assert_eq!(probe.url.as_str(), url.1);
    assert_eq!(probe.timeout, Duration::from_secs(7));
    assert_eq!(probe.api_key.expect("a key").expose_secret(), "key");
    let off = ("MOOG_HEALTH_CHECK_ENABLED", "false");
    assert!(load(&[url, off]).expect("valid").probe.is_none());
    assert!(load(&[]).expect("valid").probe.is_none());
    assert!(!is_warned(&[off], "MOOG_WEBHOOK_URL is not set"));
    assert!(!is_warned(&[url], "MOOG_WEBHOOK_URL is not set"));
}

#[test]
fn certificates_come_in_pairs_and_count_only_with_tls() {
    let ca = ("REDIS_CA_CERT_PATH", "/ca");
    let cert = ("REDIS_TLS_CLIENT_CERT", "/crt");
    let key = ("REDIS_TLS_CLIENT_KEY", "/key");
    let tls = ("REDIS_TLS_ENABLED", "true");
    let none = "REDIS_CA_CERT_PATH, REDIS_TLS_CLIENT_CERT and REDIS_TLS_CLIENT_KEY have no effect";
    for pairs in [&[ca][..], &[cert, key], &[ca, cert, key]] {
        assert!(is_warned(pairs, none), "{pairs:?}");
        assert!(!is_warned(&[pairs, &[tls]].concat(), none), "{pairs:?}");
        for address in ["rediss://a", "valkeys://a"] {
            let pairs = [pairs, &[("REDIS_URL", address)]].concat();
            assert!(!is_warned(&pairs, none), "{pairs:?}");
        }
    }
    assert!(!is_warned(&[], none));
    let redis = load(&[ca, cert, key, tls]).expect("valid").redis;
    assert_eq!(redis.ca_cert, Some("/ca".into()));
    assert_eq!(redis.client_cert, Some(("/crt".into(), "/key".into())));
    assert_eq!(
        problems(&[cert, tls]),
        ["REDIS_TLS_CLIENT_KEY is not set: expected the key of REDIS_TLS_CLIENT_CERT"]
    );
    assert_eq!(
        problems(&[key, tls]),
        ["REDIS_TLS_CLIENT_CERT is not set: expected the certificate of REDIS_TLS_CLIENT_KEY"]
    );
}

#[test]
fn passwords_are_tried_in_their_order_and_one_in_the_address_is_decoded() {
    let passwords = |pairs: &[(&str, &str)]| -> Vec<String> {
        let passwords = load(pairs).expect("valid").redis.passwords;
        passwords
            .iter()
            .map(|text| text.expose_secret().to_owned())
            .collect()
    };
    let url = ("REDIS_URL", "redis://:p%40ss@a");
    let (first, next) = (("REDIS_PASSWORD", "first"), ("REDIS_PASSWORD_NEXT", "next"));
    assert_eq!(passwords(&[url]), ["p@ss"]);
    assert_eq!(passwords(&[url, next]), ["p@ss", "next"]);
    assert_eq!(passwords(&[url, next, first]), ["first", "next"]);
    assert!(passwords(&[]).is_empty());
    let user = load(&[("REDIS_USERNAME", "worker"), ("REDIS_TIMEOUT", "7")]).expect("valid");
    assert_eq!(user.redis.username.as_deref(), Some("worker"));
    assert_eq!(user.redis.timeout, Duration::from_secs(7));
}

#[test]
fn an_address_of_version_6_may_have_its_brackets() {
    let url = |host| {
        load(&[("REDIS_HOST", host)])
            .expect("valid")
            .redis
            .url
            .to_string()
    };
    assert_eq!(url("[::1]"), "redis://[::1]:6379/0");
    assert_eq!(url("::1"), "redis://[::1]:6379/0");
    assert_eq!(
        problems(&[("REDIS_HOST", "redis:6379")]),
        ["REDIS_HOST: the value (not shown) is not a host name or address"]
    );
}

#[test]
fn what_does_not_go_with_a_cluster_is_refused_with_the_remedy() {
    for (pairs, expected) in [
        (&[("REDIS_DB", "1")][..], "REDIS_DB: 1 cannot be used"),
        (
            &[("REDIS_URL", "redis://a")],
            "REDIS_URL and REDIS_CLUSTER_NODES are both set: expected one of them",
        ),
        (
            &[("REDIS_SENTINELS", "a"), ("REDIS_SENTINEL_MASTER", "b")],
            "REDIS_SENTINELS and REDIS_CLUSTER_NODES are both set: expected one of them; a cluster fails over by itself",
        ),
        (
            &[("ALERTER_DLQ_NAME", "a{}{b}")],
            "ALERTER_DLQ_NAME: no other key can be put into the slot of \"a{}{b}\"",
        ),
        (
            &[("INGEST_QUEUE_NAME", "a{}{b}")],
            "INGEST_QUEUE_NAME: no other key can be put into the slot of \"a{}{b}\"",
        ),
        (
            &[("DEAD_LETTER_QUEUE", "a{}{b}")],
            "DEAD_LETTER_QUEUE: no other key can be put into the slot of \"a{}{b}\"",
        ),
    ] {
        let told = problems(&[&[NODES], pairs].concat());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(expected), "{told:?}");
    }
    assert!(
        problems(&[("REDIS_CLUSTER_NODES", "127.0.0.1:0")])[0].starts_with("REDIS_CLUSTER_NODES: ")
    );
    let cluster = load(&[NODES]).expect("valid");
    assert_eq!(cluster.redis.cluster[0].to_string(), NODES.1);
    for ignored in ["REDIS_HOST", "REDIS_PORT"] {
        let warning = format!("{ignored} has no effect: REDIS_CLUSTER_NODES wins");
        assert!(is_warned(&[NODES, (ignored, "7")], &warning));
        assert!(!is_warned(&[NODES], &warning));
        assert!(!is_warned(&[(ignored, "7")], &warning));
    }
}

#[test]
fn a_list_of_sentinels_that_is_bad_is_all_that_is_told() {
    let told = problems(&[("REDIS_SENTINELS", "a/b")]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn waiting_for_replicas_is_shorter_than_the_timeout() {
    let pairs = |wait| {
        [
            ("REDIS_WAIT_REPLICAS", "1"),
            ("REDIS_TIMEOUT", "2"),
            ("REDIS_WAIT_TIMEOUT_MS", wait),
        ]
    };
    let wait = load(&pairs("1999"))
        .expect("valid")
        .redis
        .wait
        .expect("a wait");
    assert_eq!(
        (wait.replicas, wait.timeout),
        (1, Duration::from_millis(1_999))
    );
    for too_long in ["2000", "2001"] {
        let told = problems(&pairs(too_long));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("REDIS_WAIT_TIMEOUT_MS: "), "{told:?}");
    }
}

#[test]
fn the_guard_needs_lists_that_it_can_work_with() {
    let tagged = [
        ("INGEST_QUEUE_NAME", "{mutt}:ingest_queue"),
        ("ALERTER_DLQ_NAME", "{mutt}:dlq:alerter"),
    ];
    let config = load(&[GUARD, tagged[0], ("ALERTER_HEARTBEAT_PREFIX", "beat")]).expect("valid");
    let guard = config.guard.expect("it is on");
    assert_eq!(guard.lists.alert, "mutt:alert_queue");
    assert_eq!(guard.lists.ingest, tagged[0].1);
    assert_eq!(guard.lists.dlq, "mutt:dlq:alerter");
    assert_eq!(guard.orphans.heartbeat, "beat");
    assert_eq!(guard.orphans.processing, "mutt:processing:alerter");
    assert!(load(&[GUARD, NODES, tagged[0], tagged[1]]).is_ok());

    let told = problems(&[GUARD, NODES]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(
        "BACKPRESSURE_GUARD_ENABLED: the guard moves messages from \"mutt:ingest_queue\""
    ));
    assert!(told[0].contains("give them a common hash tag, like {mutt}:ingest_queue"));
    for (other, list) in [
        ("INGEST_QUEUE_NAME", "mutt:ingest_queue"),
        ("ALERTER_DLQ_NAME", "mutt:dlq:alerter"),
    ] {
        let told = problems(&[GUARD, ("ALERT_QUEUE_NAME", list)]);
        let wanted = format!(
            "ALERT_QUEUE_NAME and {other} are both {list:?}: expected two different lists, because BACKPRESSURE_GUARD_ENABLED is true"
        );
        assert!(told.contains(&wanted), "{told:?}");
        if other == "ALERTER_DLQ_NAME" {
            // Work must not be drained, guard or not.
            assert_eq!(told.len(), 2, "{told:?}");
            continue;
        }
        // Nobody minds while it is off.
        let off = load(&[("ALERT_QUEUE_NAME", list), NODES]).expect("valid");
        assert!(off.guard.is_none());
    }
}

#[test]
fn names_that_look_like_ours_are_warned_about_and_those_of_others_are_not() {
    for (name, known) in [
        ("BACKPRESSURE_GUARD_ENABLE", "BACKPRESSURE_GUARD_ENABLED"),
        ("REMEDIATION_MOOG_ENABLE", "REMEDIATION_MOOG_ENABLED"),
        ("MOOG_HEALTH_TIMEOUTS", "MOOG_HEALTH_TIMEOUT"),
    ] {
        let warning = format!("{name} is not known and has no effect: did you mean {known}?");
        assert!(is_warned(&[(name, "1")], &warning), "{name}");
    }
    assert!(is_warned(
        &[("REPLAY_EVERYTHING_TWICE_A_DAY", "1")],
        "REPLAY_EVERYTHING_TWICE_A_DAY is not known"
    ));
    for theirs in [
        "REMEDIATION_PORT",
        "MOOG_SOMETHING_ELSE",
        "BACKPRESSURE_VALVE",
        "REDIS_PORTS",
    ] {
        assert!(!is_warned(&[(theirs, "1")], theirs), "{theirs}");
    }
}
