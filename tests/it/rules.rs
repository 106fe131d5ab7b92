//! The rules for Prometheus: what lies in docs/prometheus is what the command prints, promtool takes
//! it, each alert fires when it must and only then, and leads to a part of the runbook that exists.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use mutt_remediation::slo::built_in::built_in;
use mutt_remediation::slo::objective::Objective;
use mutt_remediation::slo::rules::File;
use tempfile::TempDir;

use crate::support::daemon;

mod budgets;
mod series;

#[test]
fn the_files_are_what_the_command_prints() {
    for file in File::ALL {
        let printed = daemon::output(&["rules", file.as_str()], &[]);
        assert!(printed.status.success(), "{printed:?}");
        let name = format!("docs/prometheus/{}.yml", file.as_str());
        let kept = fs::read_to_string(&name).expect("it exists");
        let printed = String::from_utf8(printed.stdout).expect("text");
        assert!(kept == printed, "run `make rules` for {name}");
    }
}

#[test]
fn promtool_takes_the_files_whatever_the_objectives_have_in_their_texts() {
    let mut strange = built_in();
    strange[0].description = "it's {{ .Nothing }} \"of\" #1: yes\n\tno {{{".into();
    strange[0].name = "null".into();
    strange[2].component = "yes".into();
    strange[2].target = 0.5;
    let dir = written(&strange);
    let checked = promtool(dir.path(), &["check", "rules", "--lint-fatal"], &File::ALL);
    assert!(checked.status.success(), "{checked:?}");

    let alerts = fs::read_to_string(dir.path().join("slo-alerts.yml")).expect("written");
    assert!(
        alerts.contains("# forwarder_availability: more than 90 % of the events were bad"),
        "half of the events being bad cannot burn 14.4 times as fast: {alerts}"
    );
}

#[test]
fn every_alert_leads_to_a_part_of_the_runbook_that_exists() {
    let mut alerts = 0;
    for file in [File::SloAlerts, File::WorkerAlerts] {
        let text = file.text(&built_in(), "docs/");
        let links = text.lines().filter_map(|line| {
            line.trim()
                .strip_prefix("runbook_url: '")?
                .strip_suffix('\'')
        });
        for link in links {
            let (page, anchor) = link.split_once('#').expect("an anchor");
            let page = fs::read_to_string(page).expect("it exists");
            let headings = page.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| anchor_of(line.trim_start_matches(['#', ' '])));
            assert!(anchors.any(|found| found == anchor), "{link}");
            alerts += 1;
        }
        let moved = file.text(&built_in(), "https://wiki.example.org/");
        let moved = moved.matches("runbook_url: 'https://wiki.example.org/troubleshooting.md#");
        assert_eq!(moved.count(), text.matches("- alert: ").count());
    }
    assert_eq!(alerts, 19 + 5 * built_in().len());
}

/// As GitHub and GitLab make it of a heading.
fn anchor_of(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    let text = heading.to_lowercase();
    text.chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn the_alerts_of_the_worker_ask_for_metrics_that_it_has() {
    let page = fs::read_to_string("docs/metrics.md").expect("it exists");
    let rules = File::WorkerAlerts.text(&[], "");
    let names = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names: Vec<&str> = names.filter(|name| name.starts_with("mutt_")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
    }
}

#[test]
fn each_alert_of_the_worker_fires_when_it_must_and_only_then() {
    let dir = written(&built_in());
    let cases = fs::read_to_string("tests/it/rules/worker.yml").expect("it exists");
    let rules = File::WorkerAlerts.text(&[], "");
    for alert in rules
        .lines()
        .filter_map(|line| line.split_once("- alert: "))
    {
        let fires = format!("alertname=\"{}\"", alert.1);
        assert!(cases.contains(&fires), "no case has {} fire", alert.1);
    }
    test_rules(dir.path(), &cases);
}

/// All files of these objectives.
fn written(objectives: &[Objective]) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for file in File::ALL {
        let path = dir.path().join(file.as_str()).with_extension("yml");
        fs::write(path, file.text(objectives, "docs/")).expect("written");
    }
    dir
}

fn promtool(dir: &Path, arguments: &[&str], files: &[File]) -> Output {
    let names = files.iter().map(|file| format!("{}.yml", file.as_str()));
    Command::new("promtool")
        .args(arguments)
        .args(names)
        .current_dir(dir)
        .output()
        .expect("promtool is installed by `.ci/setup test`")
}

/// Runs cases as promtool has them, beside the rule files.
fn test_rules(dir: &Path, cases: &str) {
    fs::write(dir.join("cases.yml"), cases).expect("written");
    let tested = promtool(dir, &["test", "rules", "cases.yml"], &[]);
    let text = String::from_utf8_lossy(&tested.stderr);
    assert!(
        tested.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&tested.stdout)
    );
}
