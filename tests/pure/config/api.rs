//! The operator's API: where it listens, and with which keys.

use std::net::IpAddr;

use mutt_remediation::config::value::{AccessKey, Bind, Value};
use mutt_remediation::http::api::{Access, ApiConfig};

use super::{is_warned, load, problems};

const PORT: &str = "API_PORT_REMEDIATION";
const BIND: &str = "API_BIND_REMEDIATION";
const KEY: (&str, &str) = ("REMEDIATION_API_KEY", "0123456789abcdef");
const READ_KEY: (&str, &str) = ("REMEDIATION_API_READ_KEY", "fedcba9876543210");

fn api(pairs: &[(&str, &str)]) -> Option<ApiConfig> {
    load(pairs).expect("valid").api
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn without_a_key_it_listens_to_the_loopback_and_with_one_everywhere() {
    let by_default = api(&[]).expect("there is one");
    assert_eq!(
        (by_default.port, by_default.address),
        (8400, Some(address("127.0.0.1")))
    );
    assert!(!by_default.wanted && matches!(by_default.access(), Access::Loopback));
    for key in [KEY, READ_KEY] {
        let keyed = api(&[key]).expect("there is one");
        assert_eq!(keyed.address, None);
        assert!(keyed.wanted && matches!(keyed.access(), Access::Keys(_)));
    }
    let bound = api(&[KEY, (BIND, "192.0.2.7")]).expect("there is one");
    assert_eq!(bound.address, Some(address("192.0.2.7")));
    let bound = api(&[(BIND, "::1")]).expect("there is one");
    assert!(bound.wanted && bound.address == Some(address("::1")));
    assert!(api(&[(BIND, "none")]).is_none());
    assert!(api(&[(BIND, "None"), KEY]).is_none());
    assert!(is_warned(&[(BIND, "none"), KEY], "REMEDIATION_API_KEY and"));
    assert!(is_warned(&[READ_KEY], "REMEDIATION_API_KEY is not set"));
    assert!(!is_warned(&[READ_KEY, KEY], "REMEDIATION_API_KEY"));
}

#[test]
fn the_api_needs_a_key_beyond_the_loopback_and_keys_are_long_and_differ() {
    for open in ["0.0.0.0", "::", "192.0.2.7", "::ffff:192.0.2.7"] {
        let problems = problems(&[(BIND, open)]);
        assert!(
            problems[0].contains("needs REMEDIATION_API_KEY"),
            "{problems:?}"
        );
    }
    let same = problems(&[KEY, (READ_KEY.0, KEY.1)]);
    assert!(same[0].contains("expected two different keys"), "{same:?}");
    assert!(!same[0].contains(KEY.1), "{same:?}");
    for bad in [
        "",
        "0123456789abcde",
        "0123456789 abcdef",
        "0123456789abcde\u{e9}",
        &"x".repeat(513),
    ] {
        assert!(AccessKey::parse(bad).is_none(), "{bad:?}");
    }
    assert!(AccessKey::parse(&"x".repeat(512)).is_some());
    for bad in ["localhost", "127.0.0.1:80", "*", "[::1]"] {
        assert!(Bind::parse(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn a_port_of_another_listener_is_refused_or_does_without_the_api_where_nobody_wants_it() {
    let metrics = ("METRICS_PORT_REMEDIATION", "8400");
    assert!(api(&[metrics]).is_none());
    assert!(is_warned(
        &[metrics],
        "API_PORT_REMEDIATION and METRICS_PORT_REMEDIATION are both 8400"
    ));
    assert!(problems(&[metrics, KEY])[0].contains("expected different ports"));
    assert!(problems(&[(PORT, "8087")])[0].contains("HEALTH_PORT_REMEDIATION are both 8087"));
    let any = [(PORT, "0"), ("METRICS_PORT_REMEDIATION", "0")];
    assert!(api(&any).expect("there is one").wanted);
}

#[test]
fn the_key_file_of_the_command_line_is_no_misspelt_name_and_sets_no_key() {
    let file = ("REMEDIATION_API_KEY_FILE", "/run/secrets/key");
    assert!(!is_warned(&[file], "REMEDIATION_API_KEY_FILE is not known"));
    assert!(is_warned(
        &[file],
        "REMEDIATION_API_KEY_FILE is read by the command line alone"
    ));
    assert!(!is_warned(&[file, KEY], "REMEDIATION_API_KEY_FILE"));
    let keyless = api(&[file]).expect("there is one");
    assert!(!keyless.wanted && keyless.key.is_none());
    assert!(is_warned(
        &[("REMEDIATION_API_KEYFILE", "x")],
        "REMEDIATION_API_KEYFILE is not known"
    ));
}
