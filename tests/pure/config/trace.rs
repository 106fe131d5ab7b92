//! Where traces go, by the variables that OpenTelemetry has for it.

use std::time::Duration;

use mutt_remediation::trace::TraceConfig;
use secrecy::ExposeSecret;

use super::{is_warned, load, problem};

const ON: (&str, &str) = ("OTEL_ENABLED", "true");

fn traced(pairs: &[(&str, &str)]) -> TraceConfig {
    let config = load(&[&[ON], pairs].concat()).expect("valid");
    config.trace.expect("it is on")
}

fn is_silent(pairs: &[(&str, &str)]) -> bool {
    // The probe that is missing is always warned about.
    load(pairs).expect("valid").warnings.len() == 1
}

#[test]
fn traces_go_to_this_machine_by_default_and_nowhere_unless_they_are_wanted() {
    assert!(load(&[]).expect("valid").trace.is_none());
    let config = traced(&[]);
    assert_eq!(config.endpoint.as_str(), "http://localhost:4318/v1/traces");
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert!(config.headers.is_empty());
    assert!((config.share - 1.0).abs() < f64::EPSILON);
    assert!(is_silent(&[ON]));
}

#[test]
fn traces_lie_below_the_address_of_the_collector_or_at_one_of_their_own() {
    let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let exact = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    for (address, place) in [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("http://a:4318/", "http://a:4318/v1/traces"),
        ("https://a/otlp/", "https://a/otlp/v1/traces"),
        ("https://a/otlp?key=1", "https://a/otlp/v1/traces?key=1"),
    ] {
        assert_eq!(traced(&[(base, address)]).endpoint.as_str(), place);
    }
    let both = [(base, "http://a"), (exact, "http://b/in")];
    assert_eq!(traced(&both).endpoint.as_str(), "http://b/in");
    let wins = "OTEL_EXPORTER_OTLP_ENDPOINT has no effect: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT wins";
    assert!(is_warned(&[&[ON], &both[..]].concat(), wins));
    assert!(is_silent(&both), "nobody minds while it is off");
    let template = [ON, (base, "http://localhost:4318"), (exact, "http://b/in")];
    assert!(is_silent(&template), "the template sets the default");
    let grpc = "the collector's port is 4317";
    assert!(is_warned(&[ON, (base, "http://a:4317")], grpc));
    assert!(is_silent(&[(base, "http://a:4317")]));
}

#[test]
fn pairs_are_read_as_opentelemetry_writes_them() {
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%2Cc , x-y = z=%3D,");
    let told = traced(&[headers, ("OTEL_EXPORTER_OTLP_TIMEOUT", "250")]);
    let pairs = told.headers.iter();
    let pairs: Vec<(&str, &str)> = pairs
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    assert_eq!(pairs, [("a", "b,c"), ("x-y", "z==")]);
    assert_eq!(told.timeout, Duration::from_millis(250));
    for bad in [
        "hush",
        "=hush",
        "two words=hush",
        "a=hush%0A",
        "a=%ff",
        "a=h\u{fc}sh",
    ] {
        let problem = problem(headers.0, bad);
        let start = format!(
            "{}: the value (not shown) is not name=value pairs",
            headers.0
        );
        assert!(problem.starts_with(&start), "{problem}");
        assert!(!problem.contains("hush"), "{problem}");
    }
    let bad = problem("OTEL_RESOURCE_ATTRIBUTES", "a=1,b");
    assert!(
        bad.contains("\"a=1,b\" is not name=value pairs separated by commas"),
        "{bad}"
    );
}

#[test]
fn a_variable_of_its_own_wins_over_an_attribute_and_that_over_a_default() {
    let attributes = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=theirs,service.version=1,deployment.environment.name=a%20b",
    );
    let resource = |pairs: &[(&str, &str)]| traced(pairs).resource;
    let has = |pairs: &[(&str, &str)], name: &str, value: &str| {
        let found = resource(pairs).into_iter().find(|(known, _)| known == name);
        assert_eq!(found.expect(name).1, value);
    };
    has(&[], "service.name", "remediation");
    has(&[], "service.version", env!("CARGO_PKG_VERSION"));
    has(&[attributes], "service.name", "theirs");
    has(&[attributes], "service.version", "1");
    has(&[attributes], "deployment.environment.name", "a b");
    let own = [
        attributes,
        ("OTEL_SERVICE_NAME", "ours"),
        ("SERVICE_VERSION", "2"),
        ("POD_NAME", "pod-3"),
    ];
    has(&own, "service.name", "ours");
    has(&own, "service.version", "2");
    has(&own, "service.instance.id", "pod-3");
}

#[test]
fn the_sampler_is_a_share_of_all_traces() {
    let share = |sampler: &str, share: &str| {
        let mut pairs = vec![("OTEL_TRACES_SAMPLER", sampler)];
        pairs.extend((!share.is_empty()).then_some(("OTEL_TRACES_SAMPLER_ARG", share)));
        traced(&pairs).share.to_string()
    };
    assert_eq!(share("always_on", ""), "1");
    assert_eq!(share("parentbased_always_off", ""), "0");
    assert_eq!(share("traceidratio", "0.25"), "0.25");
    assert_eq!(share("parentbased_traceidratio", ""), "1");
    let missing = "OTEL_TRACES_SAMPLER_ARG is not set: all traces are sent, as with 1";
    let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
    assert!(is_warned(&[ON, ratio], missing));
    let idle = ("OTEL_TRACES_SAMPLER_ARG", "0.5");
    assert!(is_warned(
        &[ON, idle],
        "OTEL_TRACES_SAMPLER_ARG has no effect"
    ));
    assert!(is_silent(&[ON, ratio, idle]));
    let bad = problem("OTEL_TRACES_SAMPLER", "jaeger_remote");
    assert!(bad.ends_with(
        "is not always_on, always_off or traceidratio, each also with parentbased_ before it"
    ));
}

#[test]
fn what_else_opentelemetry_has_is_warned_about_once_tracing_is_on() {
    for (name, text) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=hush"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
    ] {
        let warning = format!("{name} is not supported and has no effect");
        assert!(is_warned(&[ON, (name, text)], &warning), "{name}");
        assert!(is_silent(&[(name, text)]), "{name}");
    }
    for (name, fine, other) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "grpc"),
        ("OTEL_TRACES_EXPORTER", "otlp", "console"),
        ("OTEL_SDK_DISABLED", "False", "true"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage", "b3"),
    ] {
        assert!(is_silent(&[ON, (name, fine)]), "{name}");
        let fine = fine.to_lowercase();
        let warning = format!("{name} has no effect: what can be had is ");
        assert!(is_warned(&[ON, (name, other)], &warning), "{name} {fine}");
        assert!(is_silent(&[(name, other)]), "{name}");
    }
    for theirs in ["OTEL_PYTHON_LOG_CORRELATION", "OTEL_COLLECTOR_SERVICE_HOST"] {
        assert!(is_silent(&[ON, (theirs, "x")]), "{theirs}");
    }
    let near = "OTEL_ENABLE is not known and has no effect: did you mean OTEL_ENABLED?";
    assert!(is_warned(&[("OTEL_ENABLE", "true")], near));
}
