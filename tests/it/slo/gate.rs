//! The forwarder's budget and the drain, and what operators change while it runs.

use super::past::{Minute, STEADY, prometheus};
use crate::support::daemon::output;
use crate::support::{Daemon, Prometheus, Redis, SOURCE, TARGET, until};

async fn burning() -> Prometheus {
    prometheus(|back| Minute {
        refused: if back < 20 { 0.2 } else { 0.0 },
        ..STEADY
    })
    .await
}

fn letters() -> Vec<String> {
    (0..5)
        .map(|i| {
            format!(
                r#"{{"hostname":"sw1","timestamp":1700000000,"message":"m{i}","_retry_count":4}}"#
            )
        })
        .collect()
}

const SHUT: &str = r#"mutt_remediation_gate_shut{reason="slo",source="alerter"}"#;

#[tokio::test]
async fn replays_wait_while_the_forwarders_budget_burns() {
    let prometheus = burning().await;
    let redis = Redis::start();
    redis.dead_letter(&letters()).await;
    let url = prometheus.url();
    let daemon = Daemon::start(
        &redis,
        &[
            ("PROMETHEUS_URL", &url),
            ("SLO_INTERVAL", "5"),
            ("REPLAY_SLO_GATE", "true"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
        ],
    );
    daemon.until_metric(SHUT, |is| is == 1.0).await;
    let critical =
        r#"mutt_slo_state{component="forwarder",slo="forwarder_availability",state="critical"}"#;
    daemon.until_metric(critical, |is| is == 1.0).await;
    let loops = "mutt_remediation_loops_total";
    let before = daemon.metric(loops).await.expect("it is exposed");
    daemon.until_metric(loops, |now| now >= before + 2.0).await;
    assert_eq!(redis.len(SOURCE).await, 5, "nothing is replayed");
    assert_eq!(daemon.metric(SHUT).await, Some(1.0));

    // What the forwarder promises is an operator's to say.
    let key = "mutt:config:slo_forward_success_target";
    let _: () = redis.command(&["SET", key, "0.5"]).await;
    let _: i64 = redis
        .command(&[
            "PUBLISH",
            "mutt:config:updates",
            "slo_forward_success_target",
        ])
        .await;
    until("what was dead is brought back", || async {
        redis.len(TARGET).await == 5
    })
    .await;
    daemon.until_metric(SHUT, |is| is == 0.0).await;
    let target = r#"mutt_slo_objective{component="forwarder",slo="forwarder_availability"}"#;
    assert_eq!(daemon.metric(target).await, Some(0.5));
}

#[tokio::test]
async fn the_gate_is_off_unless_it_is_wanted_and_opens_when_it_is_switched_off() {
    let prometheus = burning().await;
    let redis = Redis::start();
    let url = prometheus.url();
    let daemon = Daemon::start(
        &redis,
        &[("PROMETHEUS_URL", &url), ("DYNAMIC_CONFIG_ENABLED", "true")],
    );
    daemon
        .until_metric("mutt_slo_prometheus_up", |is| is == 1.0)
        .await;
    redis.dead_letter(&letters()).await;
    until("they are brought back", || async {
        redis.len(TARGET).await == 5
    })
    .await;

    let set = async |value: &str| {
        let _: () = redis
            .command(&["SET", "mutt:config:replay_slo_gate", value])
            .await;
        let _: i64 = redis
            .command(&["PUBLISH", "mutt:config:updates", "replay_slo_gate"])
            .await;
    };
    set("true").await;
    daemon.until_metric(SHUT, |is| is == 1.0).await;
    redis.dead_letter(&letters()).await;
    set("false").await;
    until("these too", || async { redis.len(TARGET).await == 10 }).await;
}

/// Prometheus is away from the start: the first round ends, and the drain goes on.
#[tokio::test]
async fn without_prometheus_the_gate_opens() {
    let redis = Redis::start();
    redis.dead_letter(&letters()).await;
    let port = mutt_remediation::demo::server::free_port().expect("a port");
    let url = format!("http://127.0.0.1:{port}");
    let daemon = Daemon::start(
        &redis,
        &[("PROMETHEUS_URL", &url), ("REPLAY_SLO_GATE", "true")],
    );
    until("they are brought back", || async {
        redis.len(TARGET).await == 5
    })
    .await;
    daemon.until_logged("prometheus is away").await;
}

#[tokio::test]
async fn the_command_line_says_how_they_stand_by_its_exit_code() {
    let asked = |prometheus: &Prometheus, arguments: &[&str]| {
        let said = output(arguments, &[("PROMETHEUS_URL", &prometheus.url())]);
        let text = String::from_utf8(said.stdout).expect("text");
        (said.status.code(), text)
    };
    let well = prometheus(|_| STEADY).await;
    let (code, text) = asked(&well, &["slo"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("99.5 %") && text.contains("100 %"), "{text}");
    let burning = burning().await;
    let (code, text) = asked(&burning, &["slo"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("critical"), "{text}");
    let (code, text) = asked(&burning, &["slo", "--json"]);
    assert_eq!(code, Some(1), "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["status"], "critical");

    let redis = Redis::start();
    let url = burning.url();
    let daemon = Daemon::start(&redis, &[("PROMETHEUS_URL", &url)]);
    let critical =
        r#"mutt_slo_state{component="forwarder",slo="forwarder_availability",state="critical"}"#;
    daemon.until_metric(critical, |is| is == 1.0).await;
    let api = format!("http://127.0.0.1:{}", daemon.port("api").await);
    let said = output(&["slo", "--url", &api], &[]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");

    let said = output(&["slo"], &[]);
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    let text = String::from_utf8(said.stdout).expect("text");
    assert!(text.contains("PROMETHEUS_URL is not set"), "{text}");
}

const OWN: &str = r#"
apiVersion: openslo/v1
kind: SLO
metadata: {name: polled-devices}
spec:
  description: Devices that answer when they are polled
  service: poller
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'mutt_moog_requests_total{status="fail"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: mutt_moog_requests_total}}}
  timeWindow: [{duration: 12h, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"#;

#[tokio::test]
async fn objectives_of_ones_own_are_judged_shown_and_set_like_the_others() {
    let prometheus = burning().await;
    let redis = Redis::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("slo.yaml");
    std::fs::write(&file, OWN).expect("written");
    let (url, file) = (prometheus.url(), file.to_str().expect("text"));
    let daemon = Daemon::start(
        &redis,
        &[
            ("PROMETHEUS_URL", &url),
            ("SLO_FILE", file),
            ("SLO_POLLED_DEVICES_BURN_RATE_CRITICAL", "1.5"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
        ],
    );
    let state = |state: &str| {
        format!(r#"mutt_slo_state{{component="poller",slo="polled_devices",state="{state}"}}"#)
    };
    // Two times too fast.
    daemon
        .until_metric(&state("critical"), |is| is == 1.0)
        .await;
    let burn = |window: &str| {
        format!(
            r#"mutt_slo_burn_rate{{component="poller",slo="polled_devices",window="{window}"}}"#
        )
    };
    assert!(daemon.metric(&burn("12h")).await.is_some());
    let set = async |key: &str, value: &str| {
        let full = format!("mutt:config:{key}");
        let _: () = redis.command(&["SET", &full, value]).await;
        let _: i64 = redis
            .command(&["PUBLISH", "mutt:config:updates", key])
            .await;
    };
    set("slo_polled_devices_burn_rate_critical", "3").await;
    daemon.until_metric(&state("ok"), |is| is == 1.0).await;
    set("slo_polled_devices_window_hours", "6").await;
    until("its period is another one", || async {
        daemon.metric(&burn("12h")).await.is_none() && daemon.metric(&burn("6h")).await.is_some()
    })
    .await;
    set("slo_polled_devices_window_hours", "never").await;
    daemon.until_logged("dynamic setting refused").await;
    let refused = r#"mutt_remediation_config_refused_total{key="slo_polled_devices_window_hours"}"#;
    assert_eq!(daemon.metric(refused).await, Some(1.0));

    std::fs::write(file, OWN.replace("0.9", "9")).expect("written");
    let said = output(&["--check-config"], &[("SLO_FILE", file)]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let text = String::from_utf8(said.stderr).expect("text");
    assert!(
        text.contains("SLO_FILE") && text.contains("spec.objectives[0].target: 9"),
        "{text}"
    );
    let said = output(&["--check-config"], &[("SLO_FILE", "/nowhere")]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let said = output(&["--check-config"], &[("SLO_FILE", "/dev/zero")]);
    let text = String::from_utf8(said.stderr).expect("text");
    assert!(text.contains("it is not a file"), "{text}");
}
