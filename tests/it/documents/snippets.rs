//! What a reader pastes into a file of his own is taken by the program that reads it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::checkout;
use crate::support::daemon::client;
use crate::support::{Alertmanager, until};

/// The blocks of a page that are marked with this language, as they stand in a file.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(page).expect("it exists");
    let mut all = Vec::new();
    let mut block: Option<(usize, String)> = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        block = match (block.take(), fence) {
            (None, Some(found)) if found == language => {
                Some((line.len() - line.trim_start().len(), String::new()))
            }
            (Some((_, text)), Some(_)) => {
                all.push(text);
                None
            }
            (Some((indent, text)), None) => {
                let line = line.get(indent..).unwrap_or_default();
                Some((indent, format!("{text}{line}\n")))
            }
            (other, _) => other,
        };
    }
    all
}

#[test]
fn kustomizations_of_the_kubernetes_page_are_rendered_and_change_something() {
    let dir = tempfile::tempdir().expect("a directory");
    let repository = dir.path().join("mutt-remediation");
    fs::create_dir(&repository).expect("a directory");
    checkout::copied("k8s".as_ref(), &repository.join("k8s"));
    let rendered = |kustomization: &str| {
        fs::write(dir.path().join("kustomization.yaml"), kustomization).expect("written");
        let made = Command::new(checkout::found("kubectl"))
            .arg("kustomize")
            .arg(dir.path())
            .output()
            .expect("it runs");
        assert!(made.status.success(), "{kustomization}\n{made:?}");
        String::from_utf8(made.stdout).expect("text")
    };
    let full = "resources: [mutt-remediation/k8s/overlays/full]\n";
    let plain = rendered(full);
    let blocks = blocks("docs/kubernetes.md", "yaml");
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let whole = block.starts_with("apiVersion:");
        let found = if whole {
            rendered(&block)
        } else {
            rendered(&format!("{full}{block}"))
        };
        assert_ne!(found, plain, "{block}");
    }
}

#[tokio::test]
async fn the_lesser_alert_is_held_back_as_the_page_of_the_rules_says() {
    let blocks = blocks("docs/prometheus/README.md", "yaml");
    let rules = blocks
        .iter()
        .find(|block| block.starts_with("inhibit_rules:"));
    let alertmanager = Alertmanager::start_with(rules.expect("a block")).await;
    let alert = |labels: Value| json!({"labels": labels});
    let alerts = json!([
        alert(json!({"alertname": "SloBurnCritical", "severity": "critical", "slo": "a"})),
        alert(json!({"alertname": "SloBurnWarning", "severity": "warning", "slo": "a"})),
        alert(json!({"alertname": "SloBurnWarning", "severity": "warning", "slo": "b"})),
        alert(
            json!({"alertname": "RemediationAbsent", "severity": "critical", "component": "remediation"})
        ),
        alert(
            json!({"alertname": "SloUnknown", "severity": "warning", "component": "remediation", "slo": "c"})
        ),
        alert(
            json!({"alertname": "SloUnknown", "severity": "warning", "component": "alerter", "slo": "d"})
        ),
    ]);
    let sent = client()
        .post(alertmanager.page("/api/v2/alerts"))
        .header("content-type", "application/json")
        .body(alerts.to_string())
        .send()
        .await
        .expect("it answers");
    assert!(sent.status().is_success(), "{sent:?}");
    until("the lesser ones are held back, and no others", || async {
        let mut held: Vec<String> = Vec::new();
        for alert in alertmanager.alerts().await {
            if alert["status"]["state"] == "suppressed" {
                held.push(alert["labels"]["slo"].to_string());
            }
        }
        held.sort();
        held == ["\"a\"", "\"c\""]
    })
    .await;
}
