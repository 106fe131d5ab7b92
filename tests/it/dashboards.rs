//! The dashboards and the rules on a real Prometheus that scrapes a real daemon.

use crate::support::{Daemon, Prometheus, Redis};

#[tokio::test]
async fn a_prometheus_finds_the_daemon_and_still_knows_it_after_a_kill() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let port = daemon.port("metrics").await;
    let rule = "groups: [{name: one, rules: [{record: 'a:b', expr: 'up'}]}]";
    let mut prometheus = Prometheus::start(&[("worker", port)], &[("one", rule)]).await;
    prometheus.until_found("mutt_remediation_build_info").await;
    prometheus.until_found("a:b").await;

    prometheus.kill();
    drop(daemon);
    prometheus.up().await;
    assert_eq!(
        prometheus
            .values("last_over_time(up{job=\"worker\"}[5m])")
            .await
            .len(),
        1
    );
    assert_eq!(prometheus.answer("1 +").await["status"], "error");
}
