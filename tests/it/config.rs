//! The environment as the binary takes it: what it says of it, and how it logs.

use mutt_remediation::config::variables;
use serde_json::Value;

use crate::support::daemon::{command, output};
use crate::support::{Daemon, Redis, until};

#[test]
fn a_wrong_environment_ends_the_start_with_code_2() {
    let said = output(
        &[],
        &[
            ("REDIS_PORT", "x"),
            ("REMEDIATION_BATCH_SIZE", "0"),
            ("REDIS_PASSWORD", "hush\u{7}"),
        ],
    );
    assert_eq!(said.status.code(), Some(2));
    let text = String::from_utf8(said.stderr).expect("text");
    assert!(
        text.contains("3 problems")
            && text.contains("REDIS_PORT")
            && text.contains("REMEDIATION_BATCH_SIZE")
    );
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn check_config_shows_every_setting_and_no_secret() {
    let said = output(
        &["--check-config"],
        &[
            ("REDIS_URL", "redis://user:hush1@host:7000/1"),
            ("REDIS_PASSWORD_NEXT", "hush2"),
            ("MOOG_API_KEY", "hush3"),
            (
                "MOOG_WEBHOOK_URL",
                "https://u:hush4@moog.example/hush6?key=hush5#hush7",
            ),
        ],
    );
    assert_eq!(said.status.code(), Some(0));
    let text = String::from_utf8(said.stdout).expect("text");
    assert!(!text.contains("hush"), "{text}");
    for variable in variables::all() {
        assert!(
            text.contains(&format!("{}=", variable.name)),
            "{}",
            variable.name
        );
    }
    assert!(text.contains("REMEDIATION_INTERVAL=1  # environment"));
    assert!(text.contains("REDIS_DB=0  # default"));
    assert!(text.contains("MOOG_WEBHOOK_URL=https://moog.example/...  # environment"));
    assert!(text.contains("MOOG_API_KEY=(set, not shown)"));
}

#[test]
fn help_lists_every_variable_and_a_wrong_argument_ends_with_code_2() {
    let said = output(&["--help"], &[]);
    let text = String::from_utf8(said.stdout).expect("text");
    for variable in variables::all() {
        let default = if variable.default.is_empty() {
            "not set"
        } else {
            variable.default
        };
        assert!(
            text.contains(&format!("{} [{default}]", variable.name)),
            "{}",
            variable.name
        );
        assert!(text.contains(variable.meaning), "{}", variable.name);
    }
    assert_eq!(output(&["--nonsense"], &[]).status.code(), Some(2));
    let version = String::from_utf8(output(&["--version"], &[]).stdout).expect("text");
    assert_eq!(
        version.trim(),
        format!("mutt-remediation {}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn json_logs_are_one_object_a_line_with_the_contracts_fields() {
    let redis = Redis::start();
    redis
        .dead_letter(&[r#"{"_correlation_id":"abc-1","_moog_retry_count":9,"secret":"body"}"#])
        .await;
    let mut daemon = Daemon::start(
        &redis,
        &[
            ("LOG_JSON_ENABLED", "true"),
            ("LOG_LEVEL", "DEBUG"),
            ("POD_NAME", "pod-3"),
            ("SERVICE_VERSION", "9.9"),
        ],
    );
    daemon.until_logged("message moved to the dead list").await;
    daemon.signal("-TERM");
    daemon.ended().await;
    let log = daemon.log();
    assert!(!log.contains("body"), "no part of a message is logged");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for line in &lines {
        for field in [
            "timestamp",
            "level",
            "message",
            "service",
            "version",
            "pod_name",
            "correlation_id",
        ] {
            assert!(line.get(field).is_some(), "{field} is not in {line}");
        }
        assert_eq!(
            (&line["service"], &line["version"], &line["pod_name"]),
            (&"remediation".into(), &"9.9".into(), &"pod-3".into())
        );
        line["timestamp"]
            .as_str()
            .expect("text")
            .parse::<jiff::Timestamp>()
            .expect("RFC 3339");
    }
    let dead = lines
        .iter()
        .find(|line| line["message"] == "message moved to the dead list");
    let dead = dead.expect("it was logged");
    assert_eq!(
        (&dead["correlation_id"], &dead["reason"]),
        (&"abc-1".into(), &"retries_exhausted".into())
    );
    let passed = lines
        .iter()
        .find(|line| line["message"] == "pass moved messages")
        .expect("logged");
    assert_eq!(
        (&passed["dead"], &passed["level"]),
        (&1.into(), &"INFO".into())
    );
    assert!(
        lines.iter().any(|line| line["level"] == "WARNING"),
        "Python's names of levels"
    );
}

#[tokio::test]
async fn log_levels_go_by_pythons_names_too() {
    for (level, quiet) in [
        ("CRITICAL", true),
        ("warning", true),
        ("info", false),
        ("mutt_remediation=info", false),
    ] {
        let redis = Redis::start();
        let mut daemon = Daemon::start(
            &redis,
            &[("LOG_LEVEL", level), ("MOOG_HEALTH_CHECK_ENABLED", "no")],
        );
        if quiet {
            until("it is known to Redis", || async {
                redis
                    .command::<String>(&["CLIENT", "LIST"])
                    .await
                    .lines()
                    .count()
                    > 1
            })
            .await;
        } else {
            daemon.until_logged("redis is reached").await;
        }
        daemon.signal("-TERM");
        daemon.ended().await;
        assert_eq!(daemon.log().is_empty(), quiet, "{level}: {}", daemon.log());
    }
    assert_eq!(
        command(&[("LOG_LEVEL", "loud")])
            .output()
            .expect("it runs")
            .status
            .code(),
        Some(2)
    );
}

#[tokio::test]
async fn without_certificates_nobody_is_told_and_the_drain_goes_on() {
    let redis = Redis::start();
    let variables = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("NOTIFY_URLS", "slack+https://127.0.0.1:9/hush"),
    ];
    let daemon = Daemon::start(&redis, &variables);
    daemon.until_logged("nobody is told of anything").await;
    daemon.until_logged("redis is reached").await;
    assert_eq!(daemon.get("health", "/ready").await.0, 200);
    assert!(!daemon.log().contains("hush"), "{}", daemon.log());
}
