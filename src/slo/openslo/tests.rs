use super::super::objective::{CRITICAL, Indicator, Op, PERIOD, Part, Series, WARNING};
use super::super::query;
use super::super::window::Window;
use super::*;

/// An SLO that is right. Each case of the tables changes one thing.
const SLO: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: my-slo
spec:
  service: my-shop
  indicator:
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: prometheus
            spec:
              query: taken_total{code="200"}
        total:
          metricSource:
            spec:
              query: taken_total
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.99
"#;

const VALUE: &str = r"apiVersion: openslo/v1
kind: SLO
metadata:
  name: my-value
spec:
  indicator:
    spec:
      thresholdMetric:
        metricSource:
          spec:
            query: max(age_seconds)
  budgetingMethod: Timeslices
  objectives:
    - op: lt
      value: 60
      target: 0.99
      timeSliceTarget: 0.9
      timeSliceWindow: 5m
";

fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn one(text: &str) -> Objective {
    let mut objectives = read(text, &[]).expect("it is right");
    assert_eq!(objectives.len(), 1);
    objectives.remove(0)
}

fn problems(text: &str) -> String {
    read(text, &[]).expect_err(text).join("\n")
}

/// What is said if `from` is written as `to`.
fn said(text: &str, from: &str, to: &str) -> String {
    problems(&changed(text, from, to))
}

#[test]
fn an_slo_is_an_objective() {
    let objective = one(SLO);
    assert_eq!(
        objective,
        Objective {
            name: "my_slo".into(),
            component: "my_shop".into(),
            description: "my_slo".into(),
            indicator: Indicator::Ratio {
                part: Part::Good(Series::Selector(r#"taken_total{code="200"}"#.into())),
                total: Series::Selector("taken_total".into()),
            },
            target: 0.99,
            period: Window::hours(720),
            warning: WARNING,
            critical: CRITICAL,
            min_events: 10,
            sparse: false,
        }
    );
}

#[test]
fn what_may_be_left_out_has_a_default() {
    let short = changed(
        SLO,
        "  timeWindow:\n    - duration: 30d\n      isRolling: true\n  budgetingMethod: Occurrences\n",
        "",
    );
    let short = changed(&short, "  service: my-shop\n", "");
    let objective = one(&short);
    assert_eq!(objective.period, PERIOD);
    assert_eq!(objective.component, "my_slo");
    let rolling = changed(SLO, "      isRolling: true\n", "");
    assert_eq!(one(&rolling).period, Window::hours(720));
}

/// As files look that were written for several tools: everything in one, metadata everywhere, flow
/// style, aliases, and alerts beside it.
#[test]
fn a_file_of_the_whole_house_is_read() {
    let text = r#"---
apiVersion: openslo/v1
kind: Service
metadata: { name: shop, displayName: The Shop, labels: { team: [web, payments] } }
spec: { description: Sells things }
---
apiVersion: openslo/v1
kind: DataSource
metadata: { name: metrics }
spec:
  type: Prometheus
  connectionDetails: { url: "https://prometheus.example.com", anything: [goes, { here: 1 }] }
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: { name: OnCall }
spec: { target: pager }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: orders, annotations: { example.com/dashboard: "7" } }
spec:
  description: Orders
  ratioMetric:
    counter: true
    good:
      metricSource: &source
        metricSourceRef: metrics
        type: PROMETHEUS
        spec: { queryType: PromQL, promql: 'orders_total{ state =~ "paid|sent", }' }
    total: { metricSource: { metricSourceRef: metrics, spec: { query: orders_total } } }
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders
  labels: { tier: "1" }
  annotations: { openslo.com/anything: x, mutt-remediation/min-events: 1 }
spec:
  description: >
    Orders that are paid
    and sent
  service: shop
  indicatorRef: orders
  timeWindow: [{ duration: 1w, isRolling: true }]
  budgetingMethod: Occurrences
  alertPolicies:
    - kind: AlertPolicy
      metadata: { name: page }
      spec: { conditions: [], typos: are fine here }
    - alertPolicyRef: other
  objectives:
    - { displayName: Gold, targetPercent: 99.9 }
    - { displayName: Silver, targetPercent: 99 }
...
---
# nothing
"#;
    let objectives = read(text, &[]).expect("it is right");
    let [gold, silver] = objectives.as_slice() else {
        panic!("two: {objectives:?}");
    };
    assert_eq!(
        (gold.name.as_str(), silver.name.as_str()),
        ("orders_1", "orders_2")
    );
    assert_eq!((gold.target, silver.target), (0.999, 0.99));
    assert_eq!(gold.description, "Orders that are paid and sent: Gold");
    assert_eq!(gold.period, Window::hours(168));
    assert_eq!(gold.min_events, 1);
    let Indicator::Ratio { part, .. } = &gold.indicator else {
        panic!("a ratio");
    };
    let selector = r#"orders_total{ state =~ "paid|sent", }"#;
    assert_eq!(*part, Part::Good(Series::Selector(selector.into())));
}

#[test]
fn a_value_counts_moments_and_slices_are_shares_of_them() {
    let slices = one(VALUE);
    assert_eq!(
        slices.indicator,
        Indicator::Moments {
            query: "avg_over_time((((max(age_seconds)) >= -Inf) < bool 60)[5m:1m])".into(),
            op: Op::Gte,
            bound: 0.9,
            every: Window::minutes(5),
        }
    );
    assert_eq!(slices.min_events, 3);
    let plain = Indicator::Moments {
        query: "max(age_seconds)".into(),
        op: Op::Lt,
        bound: 60.0,
        every: Window::minutes(1),
    };
    let minutes = changed(VALUE, "timeSliceWindow: 5m", "timeSliceWindow: 1");
    assert_eq!(one(&minutes).indicator, plain);
    let occurrences = changed(
        VALUE,
        "      timeSliceTarget: 0.9\n      timeSliceWindow: 5m\n",
        "",
    );
    let occurrences = changed(&occurrences, "Timeslices", "Occurrences");
    assert_eq!(one(&occurrences).indicator, plain);
    assert_eq!(one(&occurrences).min_events, 10);
}

#[test]
fn a_slice_of_a_ratio_is_good_where_its_share_is() {
    let text = changed(SLO, "Occurrences", "Timeslices");
    let text = format!("{text}      timeSliceTarget: 0.95\n      timeSliceWindow: 2m\n");
    let objective = one(&text);
    assert_eq!(
        objective.indicator,
        Indicator::Moments {
            query: r#"1 - clamp(1 - (sum(increase(taken_total{code="200"}[2m])) or vector(0)) / (sum(increase(taken_total[2m])) > 0), 0, 1)"#.into(),
            op: Op::Gte,
            bound: 0.95,
            every: Window::minutes(2),
        }
    );
    assert_eq!(objective.min_events, 7);
}

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
fn what_is_wrong_is_said_with_its_line_and_what_was_expected() {
    let of_slo = "line 24: SLO my-slo: spec.objectives[0]";
    for (from, to, expected) in [
        (
            "openslo/v1",
            "openslo/v1alpha",
            "line 1: SLO my-slo: apiVersion: openslo/v1alpha, expected openslo/v1",
        ),
        (
            "apiVersion: openslo/v1\n",
            "",
            "line 1: SLO my-slo: apiVersion is missing",
        ),
        (
            "kind: SLO",
            "kind: Slo",
            "line 2: Slo my-slo: kind: Slo, expected SLO, SLI, DataSource, Service, AlertPolicy, AlertCondition or AlertNotificationTarget",
        ),
        ("kind: SLO", "kind: Service", "line 1: no SLO is in it"),
        (
            "  name: my-slo",
            "  name:",
            "line 3: document 1: metadata: name is missing",
        ),
        (
            "my-slo",
            "My-SLO",
            "line 4: SLO My-SLO: metadata.name: My-SLO, expected lower-case letters, digits and dashes, beginning with a letter, 63 at most",
        ),
        (
            "my-slo",
            "my-window-hours",
            "line 4: SLO my-window-hours: metadata.name: my-window-hours would read as a setting, for it ends in _window_hours",
        ),
        (
            "service: my-shop",
            "service: [my-shop]",
            "line 6: SLO my-slo: spec.service: a list, expected text",
        ),
        (
            "service: my-shop",
            "service: 7up",
            "line 6: SLO my-slo: spec.service: 7up, expected lower-case letters, digits and dashes, beginning with a letter, 63 at most",
        ),
        (
            "service:",
            "servise:",
            "line 6: SLO my-slo: spec.servise: not known; did you mean service?",
        ),
        (
            "  service:",
            "  owner:",
            "line 6: SLO my-slo: spec.owner: not known; expected description, service, indicator, indicatorRef, timeWindow, budgetingMethod, objectives or alertPolicies",
        ),
        (
            "counter: true",
            "counter: false",
            "line 10: SLO my-slo: spec.indicator.spec.ratioMetric.counter: false, expected true: only what counts up can be counted over any stretch; a value that rises and falls is a thresholdMetric",
        ),
        (
            "counter: true",
            "counter: yes",
            "line 10: SLO my-slo: spec.indicator.spec.ratioMetric.counter: yes, expected true or false",
        ),
        (
            "        counter: true\n",
            "",
            "line 9: SLO my-slo: spec.indicator.spec.ratioMetric: counter is missing",
        ),
        (
            "        good:",
            "        goood:",
            "line 9: SLO my-slo: spec.indicator.spec.ratioMetric: good or bad is missing\nline 11: SLO my-slo: spec.indicator.spec.ratioMetric.goood: not known; did you mean good?",
        ),
        (
            "counter: true",
            "counter: true\n        bad: {}",
            "line 11: SLO my-slo: spec.indicator.spec.ratioMetric.bad: either good or bad, not both",
        ),
        (
            "counter: true",
            "rawType: success\n        raw: {}",
            "line 10: SLO my-slo: spec.indicator.spec.ratioMetric.rawType: a ratio does not say of how many events it is; expected good or bad, and total\nline 11: SLO my-slo: spec.indicator.spec.ratioMetric.raw: a ratio does not say of how many events it is; expected good or bad, and total",
        ),
        (
            "type: prometheus",
            "type: Datadog",
            "line 13: SLO my-slo: spec.indicator.spec.ratioMetric.good.metricSource.type: Datadog, expected Prometheus, which is all that can be asked",
        ),
        (
            "type: prometheus",
            "metricSourceRef: []",
            "line 13: SLO my-slo: spec.indicator.spec.ratioMetric.good.metricSource.metricSourceRef: a list, expected text",
        ),
        (
            "query: taken_total\n",
            "promql: a\n              query: b\n",
            "line 19: SLO my-slo: spec.indicator.spec.ratioMetric.total.metricSource.spec.promql: either query or promql, not both",
        ),
        (
            "query: taken_total\n",
            "queryType: sql\n",
            "line 18: SLO my-slo: spec.indicator.spec.ratioMetric.total.metricSource.spec: query is missing\nline 19: SLO my-slo: spec.indicator.spec.ratioMetric.total.metricSource.spec.queryType: sql, expected promql",
        ),
        (
            "duration: 30d",
            "duration: 1M",
            "line 21: SLO my-slo: spec.timeWindow[0].duration: 1M, expected whole hours, from 1h to 365d, such as 24h, 30d or 4w: a month has no fixed length",
        ),
        (
            "duration: 30d",
            "duration: 90m",
            "line 21: SLO my-slo: spec.timeWindow[0].duration: 90m, expected whole hours, from 1h to 365d, such as 24h, 30d or 4w",
        ),
        (
            "duration: 30d",
            "duration: 366d",
            "line 21: SLO my-slo: spec.timeWindow[0].duration: 366d, expected whole hours, from 1h to 365d, such as 24h, 30d or 4w",
        ),
        (
            "duration: 30d",
            "duration: 99999999999999999w",
            "line 21: SLO my-slo: spec.timeWindow[0].duration: 99999999999999999w, expected whole hours, from 1h to 365d, such as 24h, 30d or 4w",
        ),
        (
            "duration: 30d",
            "duration: 1h30m",
            "line 21: SLO my-slo: spec.timeWindow[0].duration: 1h30m, expected whole hours, from 1h to 365d, such as 24h, 30d or 4w",
        ),
        (
            "isRolling: true",
            "isRolling: false",
            "line 22: SLO my-slo: spec.timeWindow[0].isRolling: false, expected true: a window by the calendar is not supported",
        ),
        (
            "isRolling: true",
            "calendar: {startTime: 2024-01-01}",
            "line 22: SLO my-slo: spec.timeWindow[0].calendar: a window by the calendar is not supported; expected one that is rolling",
        ),
        (
            "- duration: 30d\n      isRolling: true",
            "- duration: 30d\n    - duration: 7d",
            "line 20: SLO my-slo: spec.timeWindow: 2 time windows, expected one",
        ),
        (
            "Occurrences",
            "RatioTimeslices",
            "line 23: SLO my-slo: spec.budgetingMethod: RatioTimeslices is not supported; expected Occurrences or Timeslices",
        ),
        (
            "Occurrences",
            "Sometimes",
            "line 23: SLO my-slo: spec.budgetingMethod: Sometimes, expected Occurrences or Timeslices",
        ),
        (
            "Occurrences",
            "Timeslices",
            "{25}: timeSliceTarget is missing\n{25}: timeSliceWindow is missing",
        ),
        (
            "target: 0.99",
            "target: 1",
            "{25}.target: 1, expected a number above 0 and below 1",
        ),
        (
            "target: 0.99",
            "target: 0",
            "{25}.target: 0, expected a number above 0 and below 1",
        ),
        (
            "target: 0.99",
            "target: .nan",
            "{25}.target: .nan, expected a number above 0 and below 1",
        ),
        (
            "target: 0.99",
            "target: nan",
            "{25}.target: nan, expected a number above 0 and below 1",
        ),
        (
            "target: 0.99",
            "target: '0.99'",
            "{25}.target: \"0.99\", expected a number above 0 and below 1",
        ),
        (
            "target: 0.99",
            "target: 99.9%",
            "{25}.target: 99.9%, expected a number above 0 and below 1",
        ),
        (
            "target: 0.99",
            "targetPercent: 100",
            "{25}.targetPercent: 100, expected a number above 0 and below 100",
        ),
        (
            "target: 0.99",
            "targetPercent: 99.99999999999999999",
            "{25}.targetPercent: 99.99999999999999999, expected a number above 0 and below 100",
        ),
        (
            "target: 0.99",
            "target: 0.9\n      targetPercent: 90",
            "line 26: SLO my-slo: spec.objectives[0].targetPercent: either target or targetPercent, not both",
        ),
        (
            "target: 0.99",
            "displayName: x",
            "{25}: target or targetPercent is missing",
        ),
        (
            "target: 0.99",
            "target: 0.9\n      op: gt",
            "line 26: SLO my-slo: spec.objectives[0].op: belongs to a thresholdMetric",
        ),
        (
            "target: 0.99",
            "target: 0.9\n      timeSliceWindow: 5m",
            "line 26: SLO my-slo: spec.objectives[0].timeSliceWindow: belongs to budgetingMethod: Timeslices",
        ),
        (
            "target: 0.99",
            "target: 0.9\n      compositeWeight: 2",
            "line 26: SLO my-slo: spec.objectives[0].compositeWeight: composite objectives are not supported; expected an SLO for each indicator",
        ),
        (
            "\n    - target: 0.99",
            " []",
            "line 24: SLO my-slo: spec.objectives: 0 objectives, expected 1 to 100",
        ),
        (
            "\n    - target: 0.99",
            " {target: 0.99}",
            "line 24: SLO my-slo: spec.objectives: a map, expected a list",
        ),
        (
            "  objectives:\n    - target: 0.99\n",
            "",
            "line 5: SLO my-slo: spec: objectives is missing",
        ),
        (
            "  name: my-slo",
            "  name: my-slo\n  annotations: {mutt-remediation/min-event: 1}",
            "line 5: SLO my-slo: metadata.annotations.mutt-remediation/min-event: not known; did you mean mutt-remediation/min-events?",
        ),
        (
            "  name: my-slo",
            "  name: my-slo\n  annotations: {mutt-remediation/min-events: 0}",
            "line 5: SLO my-slo: metadata.annotations.mutt-remediation/min-events: 0, expected a whole number from 1 to 1000000000",
        ),
        (
            "  name: my-slo",
            "  name: my-slo\n  annotations: {mutt-remediation/sparse: 'no'}",
            "line 5: SLO my-slo: metadata.annotations.mutt-remediation/sparse: \"no\", expected true or false",
        ),
    ] {
        let expected = expected.replace("{25}", &of_slo.replace("24", "25"));
        assert_eq!(said(SLO, from, to), expected, "{to}");
    }
}

#[test]
fn of_a_value_too() {
    let at = "SLO my-value: spec.objectives[0]";
    for (from, to, expected) in [
        ("op: lt", "op: '<'", format!("line 14: {at}.op: \"<\", expected lt, lte, gt or gte")),
        ("- op: lt\n      value", "- value", format!("line 14: {at}: op is missing")),
        ("value: 60", "value: 1m", format!("line 15: {at}.value: 1m, expected a number")),
        ("Target: 0.9\n", "Target: 0\n", format!("line 17: {at}.timeSliceTarget: 0, expected a number above 0 and not above 1")),
        ("Window: 5m", "Window: 1h", format!("line 18: {at}.timeSliceWindow: 1h, expected 1m to 5m, the shortest stretch that a burn is looked at over")),
        ("max(age_seconds)", "increase(a[{{.window}}])", "line 11: SLO my-value: spec.indicator.spec.thresholdMetric.metricSource.spec.query: {{.window}} belongs to a ratioMetric: here a value is looked at from moment to moment".into()),
        ("max(age_seconds)", "max(age_seconds", "line 11: SLO my-value: spec.indicator.spec.thresholdMetric.metricSource.spec.query: ( is not closed".into()),
        ("max(age_seconds)", "a)) or ((b", "line 11: SLO my-value: spec.indicator.spec.thresholdMetric.metricSource.spec.query: ) closes nothing".into()),
    ] {
        assert_eq!(said(VALUE, from, to), expected);
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

#[test]
fn every_mistake_is_named_at_once_in_the_order_of_the_file() {
    let text = changed(SLO, "target: 0.99", "target: 2");
    let text = changed(&text, "counter: true", "counter: maybe");
    let text = changed(&text, "duration: 30d", "duration: soon");
    let second = changed(SLO, "my-slo", "other").replace("Occurrences", "Never");
    let problems = problems(&format!("{text}---\n{second}"));
    let starts: Vec<_> = problems
        .lines()
        .map(|line| line.split(", ").next().unwrap_or_default())
        .collect();
    assert_eq!(
        starts,
        [
            "line 10: SLO my-slo: spec.indicator.spec.ratioMetric.counter: maybe",
            "line 21: SLO my-slo: spec.timeWindow[0].duration: soon",
            "line 25: SLO my-slo: spec.objectives[0].target: 2",
            "line 49: SLO other: spec.budgetingMethod: Never",
        ]
    );
}

#[test]
fn documents_must_fit_each_other() {
    let source =
        "apiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: x}\nspec: {type: Datadog}\n";
    let referring = changed(SLO, "type: prometheus", "metricSourceRef: x");
    assert_eq!(
        problems(&format!("{source}---\n{referring}")),
        "line 18: SLO my-slo: spec.indicator.spec.ratioMetric.good.metricSource.metricSourceRef: x is a DataSource that is no Prometheus"
    );
    let start = SLO.find("  indicator:").expect("it is there");
    let end = SLO.find("  timeWindow:").expect("it is there");
    let mut referring = SLO.to_owned();
    referring.replace_range(start..end, "  indicatorRef: nowhere\n");
    assert_eq!(
        problems(&referring),
        "line 7: SLO my-slo: spec.indicatorRef: nowhere, expected the name of an SLI in this file"
    );
    assert_eq!(
        problems(&format!("{SLO}---\n{SLO}")),
        "line 30: SLO my-slo: metadata.name: my-slo has been described in line 4\nline 51: SLO my-slo: spec.objectives[0]: my_slo is the name of another objective"
    );
    let numbered = changed(SLO, "my-slo", "my-slo-2");
    let several = format!("{SLO}    - target: 0.9\n");
    assert_eq!(
        problems(&format!("{numbered}---\n{several}")),
        "line 52: SLO my-slo: spec.objectives[1]: my_slo_2 is the name of another objective"
    );
}

#[test]
fn an_indicator_that_nothing_refers_to_is_looked_at_too() {
    let sli = "---\napiVersion: openslo/v1\nkind: SLI\nmetadata: {name: x}\nspec: {thresholdMetrics: {}}\n";
    assert_eq!(
        problems(&format!("{SLO}{sli}")),
        "line 30: SLI x: spec.thresholdMetrics: not known; did you mean thresholdMetric?\nline 30: SLI x: spec: ratioMetric or thresholdMetric is missing"
    );
}

#[test]
fn a_hundred_objectives_are_enough() {
    let full = format!("{SLO}{}", "    - target: 0.9\n".repeat(99));
    assert_eq!(read(&full, &[]).map(|all| all.len()), Ok(100));
    let more = format!("{full}---\n{}", changed(SLO, "my-slo", "one-more"));
    assert_eq!(
        problems(&more),
        "line 150: SLO one-more: spec.objectives[0]: more than 100 objectives"
    );
}

#[test]
fn what_is_no_yaml_of_ours_is_refused() {
    for (text, expected) in [
        ("", "line 1: no SLO is in it"),
        ("# nothing\n---\n~\n", "line 1: no SLO is in it"),
        ("a", "line 1: document 1: a, expected a map"),
        ("- a\n", "line 1: document 1: a list, expected a map"),
        ("a: 1\na: 2\n", "line 2: a: already in line 1"),
        ("[a]: 1\n", "line 1: a key that is a list or a map"),
        ("a: !!str 1\n", "line 1: tags such as !!str are not taken"),
    ] {
        assert_eq!(problems(text), expected, "{text}");
    }
    assert!(
        problems("a: [1\n").starts_with("line "),
        "{}",
        problems("a: [1\n")
    );
    assert!(
        problems("a: *b\n").starts_with("line 1: "),
        "{}",
        problems("a: *b\n")
    );
}
