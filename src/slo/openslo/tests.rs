use super::super::objective::{CRITICAL, Indicator, Lull, Op, PERIOD, Part, Series, WARNING};
use super::super::window::Window;
use super::*;

mod mistakes;
mod queries;

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
            lull: Lull::Minutes,
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
    let targets = [gold, silver].map(|one| one.target.to_string());
    assert_eq!(targets, ["0.999", "0.99"]);
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
