//! What is written down is true: metric names, settings, and which file may import what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mutt_remediation::config::variables;

use crate::support::daemon::output;
use crate::support::{Daemon, Redis};

#[tokio::test]
async fn docs_and_the_endpoint_name_the_same_metrics() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let (_, text) = daemon.get("metrics", "/metrics").await;
    let exposed: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let page = fs::read_to_string("docs/metrics.md").expect("it exists");
    let described: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(described, exposed);
}

#[test]
fn the_configuration_page_names_every_variable() {
    let page = fs::read_to_string("docs/configuration.md").expect("it exists");
    for variable in variables::all() {
        assert!(
            page.contains(&format!("`{}`", variable.name)),
            "{}",
            variable.name
        );
    }
}

#[test]
fn what_is_shipped_has_the_adaptive_pace_on() {
    for (file, line) in [
        (
            "docker-compose.yml",
            "REPLAY_PACE: ${REPLAY_PACE:-adaptive}",
        ),
        ("k8s/base/settings.env", "REPLAY_PACE=adaptive"),
    ] {
        let text = fs::read_to_string(file).expect("it exists");
        assert!(text.lines().any(|found| found.trim() == line), "{file}");
    }
}

#[test]
fn the_settings_of_the_manifests_are_understood_to_the_last_name() {
    let read = |file: &str| fs::read_to_string(Path::new("k8s").join(file)).expect("it exists");
    let base = read("base/settings.env");
    let sentinel = read("components/sentinel/sentinel.env");
    let secret = read("components/secret/secret.env.example");
    for files in [vec![&base], vec![&base, &sentinel, &secret]] {
        let lines = files.iter().flat_map(|text| text.lines());
        let variables: Vec<(&str, &str)> = lines
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .collect();
        let said = output(&["--check-config"], &variables);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        let text = String::from_utf8(said.stdout).expect("text");
        let warnings: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("# warning"))
            .collect();
        // The one thing that nobody can know for others.
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("MOOG_WEBHOOK_URL is not set"),
            "{warnings:?}"
        );
    }
}

/// Each outside world is touched in the few files named for it.
#[test]
fn imports_stay_in_their_files() {
    let rules: [(&str, &[&str]); 15] = [
        (
            "redis::",
            &[
                "link.rs",
                "link/error.rs",
                "link/sentinel.rs",
                "dlq/redis.rs",
                "dlq/ahead.rs",
                "dlq/bell.rs",
                "dlq/latch.rs",
                "audit/",
                "operate.rs",
                "operate/",
                "dlq/overflow.rs",
                "guard/orphans.rs",
                "dlq/spread.rs",
                "link/cluster.rs",
                "settings/watch.rs",
                "survey.rs",
                "config/value.rs",
                "demo.rs",
                "demo/",
            ],
        ),
        (
            "reqwest::",
            &[
                "health/probe.rs",
                "app.rs",
                "cli/remote.rs",
                "cli/container.rs",
                "notify/http.rs",
                "notify/send.rs",
                "slo/ask.rs",
                "trace.rs",
                "trace/",
            ],
        ),
        ("opentelemetry::", &["trace.rs", "trace/export.rs"]),
        ("opentelemetry_sdk::", &["trace.rs", "trace/"]),
        (
            "opentelemetry_proto::",
            &["trace/export.rs", "trace/wire.rs"],
        ),
        ("prost::", &["trace/wire.rs"]),
        ("lettre::", &["notify/mail.rs"]),
        ("granit_parser::", &["slo/openslo/yaml.rs"]),
        ("axum::", &["http.rs", "http/", "demo/moogsoft.rs"]),
        (
            "prometheus::",
            &["metrics.rs", "metrics/", "http.rs", "app.rs"],
        ),
        ("std::env::", &["cli.rs", "cli/", "telemetry.rs"]),
        (
            ".spawn(",
            &[
                "background.rs",
                "http/connections.rs",
                "http/api/limits.rs",
                "app.rs",
                "cli.rs",
                "demo/server.rs",
            ],
        ),
        (".spawn_on(", &["background.rs", "app.rs"]),
        ("tokio::process", &["demo/server.rs"]),
        ("rustix::", &["open_files.rs"]),
    ];
    for file in sources(Path::new("src")) {
        let name = file
            .strip_prefix("src")
            .expect("below src")
            .to_str()
            .expect("text")
            .to_owned();
        let text = fs::read_to_string(&file).expect("it can be read");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for (word, allowed) in &rules {
                // `dlq::redis` and the like are modules of ours.
                let foreign = line.match_indices(word).any(|(at, _)| {
                    !line[..at].ends_with("::")
                        && !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                });
                let fits = allowed.iter().any(|place| {
                    name == *place || (place.ends_with('/') && name.starts_with(place))
                });
                assert!(
                    !foreign || fits || (word.starts_with('.') && !line.contains(word)),
                    "{name}: {line}"
                );
            }
        }
    }
}

#[test]
fn the_pure_parts_know_no_clock_no_network_and_no_log() {
    for name in [
        "drain/classify.rs",
        "drain/plan.rs",
        "drain/pace.rs",
        "drain/pace/again.rs",
        "drain/pace/bounces.rs",
        "drain/pace/evidence.rs",
        "drain/pace/limits.rs",
        "drain/gate.rs",
        "drain/systemic.rs",
        "drain/estimate.rs",
        "dlq/envelope.rs",
        "trace/parent.rs",
        "settings.rs",
        "slo/rules.rs",
        "slo/rules/burn.rs",
        "slo/rules/recording.rs",
        "slo/rules/worker.rs",
        "slo/rules/yaml.rs",
        "guard/level.rs",
        "guard/rules.rs",
        "notify/condition.rs",
        "notify/event.rs",
        "notify/outbox.rs",
        "notify/receiver.rs",
        "notify/sample.rs",
        "notify/text.rs",
        "notify/watcher.rs",
        "notify/wire.rs",
    ] {
        let text = fs::read_to_string(Path::new("src").join(name)).expect("it exists");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [
            "async ",
            "tokio::",
            "tracing::",
            "Instant::now",
            "Timestamp::now",
            "metrics::",
        ] {
            assert!(!code.contains(word), "{name} contains {word}");
        }
    }
}

/// Every file of code below a folder.
pub(crate) fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_rule_of_the_security_page_names_a_test_that_exists() {
    let page = fs::read_to_string("docs/SECURITY.md").expect("it exists");
    let (_, rules) = page.split_once("| rule | test |\n").expect("a table");
    let mut code = String::new();
    for file in sources(Path::new("src"))
        .into_iter()
        .chain(sources(Path::new("tests")))
    {
        code += &fs::read_to_string(&file).expect("it can be read");
    }
    let rows: Vec<&str> = rules
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        let name = row
            .rsplit("| `")
            .next()
            .and_then(|rest| rest.split('`').next());
        let function = format!("fn {}(", name.expect("a name"));
        assert!(code.contains(&function), "{row}");
    }
}
