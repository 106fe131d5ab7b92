//! Which queries are taken, and how they are asked.

use super::super::super::query;
use super::*;

#[test]
fn templates_are_one_number_on_one_line() {
    let of = |query: &str| {
        let text = changed(SLO, "query: taken_total\n", &format!("query: {query}\n"));
        let objective = one(&text);
        query::total(&objective, Window::minutes(5))
    };
    for (query, asked) in [
        ("sum(increase(a[{{.window}}]))", "sum(increase(a[5m]))"),
        ("increase(a[{{ .window }}])", "sum(increase(a[5m]))"),
        (
            "|\n                sum(increase(a[{{.window}}]))\n                  + sum(increase(b[{{.window}}]))",
            "sum(sum(increase(a[5m])) + sum(increase(b[5m])))",
        ),
        (
            "'count_over_time((rate(a{b=\"#)\"}[5m]) > 1)[{{.window}}:1m])'",
            "sum(count_over_time((rate(a{b=\"#)\"}[5m]) > 1)[5m:1m]))",
        ),
        (
            "'sum by (b) (increase(a[{{.window}}]))'",
            "sum(sum by (b) (increase(a[5m])))",
        ),
    ] {
        assert_eq!(of(query), asked);
    }
}

#[test]
fn a_query_that_would_count_wrongly_is_refused() {
    let at = "line 19: SLO my-slo: spec.indicator.spec.ratioMetric.total.metricSource.spec.query";
    let counter = r#"expected a counter such as http_requests_total{code="200"}, or PromQL with {{.window}} for the stretch such as sum(increase(http_requests_total[{{.window}}]))"#;
    let resets = format!(
        "the increase of a counter is taken before it is summed, or resets would be missed: {counter}"
    );
    for (query, expected) in [
        ("sum(a_total)", resets.clone()),
        ("sum by (b) (a_total)", resets.clone()),
        ("increase(a_total[5m])", resets.clone()),
        ("a_total[5m]", resets.clone()),
        ("a_total + b_total", counter.into()),
        ("a_total offset 5m", counter.into()),
        ("'{job=\"a\"}'", counter.into()),
        ("a{b=\"c\"} or d", counter.into()),
        ("7", counter.into()),
        ("é", counter.into()),
        ("a{b}", "expected =, !=, =~ or !~ after b".into()),
        ("a{b=c}", "expected text in quotes after b=".into()),
        (
            "a{=\"c\"}",
            "expected a label such as code in the braces".into(),
        ),
        (
            "a{b=\"c\" d=\"e\"}",
            "expected , or } after the value of b".into(),
        ),
        (
            "a{__name__=\"c\"}",
            "the metric has a name already, without __name__".into(),
        ),
        ("a{b=\"c}", "\" is not closed".into()),
        (
            r#"a{b=~"c\.d"}"#,
            r"\. is no escape of PromQL, expected \\.".into(),
        ),
        ("a{b=\"c\"", "{ is not closed".into()),
        (
            "|\n                a # b",
            "a comment would hide what comes after it".into(),
        ),
        (
            "sum(rate(a[{{.window}}]))",
            "rate() says how many events there were a second, not how many: use increase()".into(),
        ),
        (
            "sum(increase(a[{{.Window}}]))",
            "only {{.window}} is filled in".into(),
        ),
        (
            "sum(a{b={{.window}}})",
            "{{.window}} must be a range, as in [{{.window}}]".into(),
        ),
        ("sum(a[{{.window}])", "{{ without }}".into()),
    ] {
        let to = format!("query: {query}\n");
        assert_eq!(
            said(SLO, "query: taken_total\n", &to),
            format!("{at}: {expected}"),
            "{query}"
        );
    }
}
