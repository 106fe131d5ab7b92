//! What is said of a file that is wrong.

use super::*;

/// In [`SLO`]: what is written otherwise, how, and what is said of it.
const MISTAKES: &[(&str, &str, &str)] = &[
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
        "services:",
        "line 6: SLO my-slo: spec.services: not known; did you mean service?",
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
        "        goods:",
        "line 9: SLO my-slo: spec.indicator.spec.ratioMetric: good or bad is missing\nline 11: SLO my-slo: spec.indicator.spec.ratioMetric.goods: not known; did you mean good?",
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
        "line 21: SLO my-slo: spec.timeWindow[0].duration: 1M, expected whole hours, from 1h to 90d, such as 24h, 30d or 4w: a month has no fixed length",
    ),
    (
        "duration: 30d",
        "duration: 90m",
        "line 21: SLO my-slo: spec.timeWindow[0].duration: 90m, expected whole hours, from 1h to 90d, such as 24h, 30d or 4w",
    ),
    (
        "duration: 30d",
        "duration: 91d",
        "line 21: SLO my-slo: spec.timeWindow[0].duration: 91d, expected whole hours, from 1h to 90d, such as 24h, 30d or 4w",
    ),
    (
        "duration: 30d",
        "duration: 99999999999999999w",
        "line 21: SLO my-slo: spec.timeWindow[0].duration: 99999999999999999w, expected whole hours, from 1h to 90d, such as 24h, 30d or 4w",
    ),
    (
        "duration: 30d",
        "duration: 1h30m",
        "line 21: SLO my-slo: spec.timeWindow[0].duration: 1h30m, expected whole hours, from 1h to 90d, such as 24h, 30d or 4w",
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
        "line 25: SLO my-slo: spec.objectives[0]: timeSliceTarget is missing\nline 25: SLO my-slo: spec.objectives[0]: timeSliceWindow is missing",
    ),
    (
        "target: 0.99",
        "target: 1",
        "line 25: SLO my-slo: spec.objectives[0].target: 1, expected a number above 0 and below 1",
    ),
    (
        "target: 0.99",
        "target: 0",
        "line 25: SLO my-slo: spec.objectives[0].target: 0, expected a number above 0 and below 1",
    ),
    (
        "target: 0.99",
        "target: .nan",
        "line 25: SLO my-slo: spec.objectives[0].target: .nan, expected a number above 0 and below 1",
    ),
    (
        "target: 0.99",
        "target: nan",
        "line 25: SLO my-slo: spec.objectives[0].target: nan, expected a number above 0 and below 1",
    ),
    (
        "target: 0.99",
        "target: '0.99'",
        "line 25: SLO my-slo: spec.objectives[0].target: \"0.99\", expected a number above 0 and below 1",
    ),
    (
        "target: 0.99",
        "target: 99.9%",
        "line 25: SLO my-slo: spec.objectives[0].target: 99.9%, expected a number above 0 and below 1",
    ),
    (
        "target: 0.99",
        "targetPercent: 100",
        "line 25: SLO my-slo: spec.objectives[0].targetPercent: 100, expected a number above 0 and below 100",
    ),
    (
        "target: 0.99",
        "targetPercent: 99.99999999999999999",
        "line 25: SLO my-slo: spec.objectives[0].targetPercent: 99.99999999999999999, expected a number above 0 and below 100",
    ),
    (
        "target: 0.99",
        "target: 0.9\n      targetPercent: 90",
        "line 26: SLO my-slo: spec.objectives[0].targetPercent: either target or targetPercent, not both",
    ),
    (
        "target: 0.99",
        "displayName: x",
        "line 25: SLO my-slo: spec.objectives[0]: target or targetPercent is missing",
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
];

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_was_expected() {
    for (from, to, expected) in MISTAKES {
        assert_eq!(said(SLO, from, to), *expected, "{to}");
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
