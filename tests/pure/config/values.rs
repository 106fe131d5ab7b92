//! Each kind of value: what it takes, and what it says of a text that it does not take.

use mutt_remediation::config::value::{
    HeaderSecret, Host, HttpUrl, LogFilter, Name, Names, Port, Ratio, RedisUrl, Text, Value, Whole,
    redacted, redacted_redis,
};
use secrecy::SecretString;
use url::Url;

use super::{load, problem};

fn takes<T: Value>(texts: &[&str]) {
    for text in texts {
        assert!(T::parse(text).is_some(), "{text:?}");
    }
}

fn refuses<T: Value>(texts: &[&str]) {
    for text in texts {
        assert!(T::parse(text).is_none(), "{text:?}");
    }
}

#[test]
fn a_refusal_says_what_is_expected_instead() {
    for (name, text, expected) in [
        (
            "REPLAY_STAMP",
            "maybe",
            "true or false (or 1/0, yes/no, on/off)",
        ),
        ("REDIS_TIMEOUT", "301", "a whole number from 1 to 300"),
        ("POISON_MAX_RATIO", "-0.1", "a ratio from 0 to 1"),
        ("REPLAY_PACE", "brisk", "fixed or adaptive"),
        (
            "METRICS_PORT_REMEDIATION",
            "65536",
            "a port from 0 to 65535",
        ),
        ("OTEL_SERVICE_NAME", "a\tb", "printable text"),
        (
            "POD_NAME",
            "two words",
            "a name of printable ASCII characters without spaces",
        ),
        (
            "REPLAY_REQUIRED_FIELDS",
            "a,b\tc",
            "names separated by commas",
        ),
        ("REDIS_CA_CERT_PATH", "/a\tb", "a path"),
        (
            "LOG_LEVEL",
            "loud",
            "DEBUG, INFO, WARNING, ERROR, CRITICAL or a filter like \"info,mutt_remediation=debug\"",
        ),
    ] {
        assert_eq!(
            problem(name, text),
            format!("{name}: {text:?} is not {expected}")
        );
    }
    for (name, text, expected) in [
        (
            "REDIS_CLUSTER_NODES",
            "a/b",
            "a list of host:port separated by commas (port 6379 if left out, IPv6 in brackets)",
        ),
        (
            "REDIS_SENTINELS",
            "a/b",
            "a list of host:port separated by commas (port 26379 if left out, IPv6 in brackets)",
        ),
        (
            "REDIS_HOST",
            "a b",
            "a host name or address; one with a scheme, a user or a password belongs into REDIS_URL",
        ),
        ("REDIS_PASSWORD", "a\tb", "a secret of printable characters"),
        (
            "MOOG_API_KEY",
            "é",
            "a secret of printable ASCII characters",
        ),
        (
            "MOOG_WEBHOOK_URL",
            "ftp://a",
            "an http:// or https:// address",
        ),
        (
            "REDIS_URL",
            "redis:",
            "a redis://, rediss://, valkey://, valkeys:// or unix:// address with a database number at most",
        ),
    ] {
        assert_eq!(
            problem(name, text),
            format!("{name}: the value (not shown) is not {expected}")
        );
    }
}

#[test]
fn white_space_around_a_value_does_not_count() {
    let config = load(&[("REMEDIATION_BATCH_SIZE", " 7\n"), ("POD_NAME", "\tpod-1 ")]);
    let config = config.expect("valid");
    assert_eq!(config.settings.batch_size, 7);
    assert_eq!(config.telemetry.instance, "pod-1");
}

#[test]
fn numbers_are_taken_up_to_their_bounds() {
    takes::<Whole<2, 4>>(&["2", "4", "+3"]);
    refuses::<Whole<2, 4>>(&["1", "5", "", "-3", "3.0", "3 ", "18446744073709551617"]);
    takes::<Ratio>(&["0", "1", "0.5", "1e-3"]);
    refuses::<Ratio>(&["-0.001", "1.001", "NaN", "inf", "", "half"]);
    takes::<Port>(&["0", "65535"]);
    refuses::<Port>(&["65536", "-1", "http"]);
}

#[test]
fn text_is_printable_and_not_empty() {
    takes::<Text>(&["a", "two words", "é"]);
    refuses::<Text>(&["", "a\0", "a\u{7f}"]);
    takes::<SecretString>(&["a", "two words", "é"]);
    refuses::<SecretString>(&["", "a\0"]);
    takes::<HeaderSecret>(&["a", "two words", "~!"]);
    refuses::<HeaderSecret>(&["", "é", "a\u{7f}", "a\r\nb"]);
    takes::<Name>(&["pod-1", "!~"]);
    refuses::<Name>(&["", "two words", "é"]);
    takes::<Host>(&["redis", "10.0.0.1", "::1", "[::1]"]);
    refuses::<Host>(&["", "a b", "a/b", "a\\b", "a?b", "a#b", "a@b", "a%41"]);
}

#[test]
fn names_are_listed_without_the_spaces_around_them_and_without_empty_ones() {
    let names = |text| Names::parse(text).map(|names| names.0);
    assert_eq!(
        names(" a b ,,c,"),
        Some(vec!["a b".to_owned(), "c".to_owned()])
    );
    assert_eq!(names(","), Some(vec![]));
    assert_eq!(names("a,b\u{7}"), None);
}

#[test]
fn addresses_are_taken_by_scheme_and_only_if_the_client_can_use_them() {
    takes::<HttpUrl>(&["http://a", "https://a:1/b?c#d"]);
    refuses::<HttpUrl>(&["", "a", "ftp://a", "http://", "file:///a"]);
    takes::<RedisUrl>(&[
        "redis://a",
        "rediss://u:p@a:1/2",
        "valkey://a",
        "valkeys://[::1]/0",
        "unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=1",
    ]);
    refuses::<RedisUrl>(&[
        "",
        "a",
        "http://a",
        "redis:",
        "redis:///0",
        "unix:",
        "redis://a/first",
        "redis://a/0#b",
        "rediss://a/0#insecure",
    ]);
}

#[test]
fn of_an_http_address_only_the_origin_is_shown_and_whether_there_is_more() {
    let shown = |text: &str| redacted(&Url::parse(text).expect("an address"));
    assert_eq!(shown("https://u:hush@a:7"), "https://a:7/");
    for more in ["https://a/hush", "https://a/?hush", "https://a/#hush"] {
        assert_eq!(shown(more), "https://a/...");
    }
}

#[test]
fn of_a_redis_address_everything_is_shown_but_secrets() {
    let shown = |text: &str| redacted_redis(&Url::parse(text).expect("an address"));
    assert_eq!(
        shown("redis://hush:hush@a:7000/2?hush#hush"),
        "redis://a:7000/2"
    );
    assert_eq!(
        shown("unix:///run/redis.sock?pass=hush"),
        "unix:///run/redis.sock"
    );
}

#[test]
fn a_log_level_holds_for_the_daemon_and_no_library_says_less_than_a_warning() {
    for (texts, filter) in [
        (&["NOTSET", "trace"][..], "warn,mutt_remediation=trace"),
        (&["DEBUG"], "warn,mutt_remediation=debug"),
        (&["Info"], "warn,mutt_remediation=info"),
        (&["WARNING", "warn"], "warn"),
        (&["ERROR", "CRITICAL", "FATAL"], "error"),
        (&["off"], "off"),
        (
            &["info,mutt_remediation=TRACE"],
            "info,mutt_remediation=TRACE",
        ),
    ] {
        for text in texts {
            let read = LogFilter::parse(text).expect(text);
            assert_eq!(read.0, filter, "{text}");
        }
    }
    refuses::<LogFilter>(&["", "loud", "a=loud", "info,[", "mutt_remediation"]);
}
