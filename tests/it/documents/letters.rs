//! The letters that the documents speak of, and what lies beside them.

use std::fs;
use std::time::SystemTime;

use crate::support::{DEAD, SOURCE};

/// The README's event, whose digest is the one in all examples.
pub(crate) const README: &str = r#"{"hostname":"sw1","timestamp":"2026-01-01T00:00:00Z","message":"link down","_retry_count":4}"#;

/// That of the user whom docs/configuration.md sets up.
pub(crate) const PASSWORD: &str = "old";

/// What empties Redis and lays everything down, oldest first.
pub(crate) fn commands() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = [
        "FLUSHALL",
        "CONFIG SET requirepass ",
        "CONFIG SET maxmemory 0",
        "ACL DELUSER mutt-remediation",
        "SET mutt:circuit_breaker:moogsoft:state CLOSED",
        "SET mutt:config:alerter_queue_warn_threshold 1000",
        "SET mutt:config:alerter_queue_shed_threshold 2000",
        "SET mutt:heartbeat:alerter:pod-2 1",
    ]
    .iter()
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .collect();
    all.push(user());
    let lists = [
        (SOURCE, failed()),
        (DEAD, parked()),
        ("mutt:alert_queue", vec![letter("sw9", "handled", "")]),
        (
            "mutt:processing:alerter:pod-1",
            vec![letter("sw9", "in hand", "")],
        ),
    ];
    for (list, letters) in lists {
        let words = ["LPUSH".to_owned(), list.to_owned()].into_iter();
        all.push(words.chain(letters).collect());
    }
    all
}

/// The command of docs/configuration.md.
fn user() -> Vec<String> {
    let page = fs::read_to_string("docs/configuration.md").expect("it exists");
    let line = page
        .lines()
        .find(|line| line.starts_with("ACL SETUSER mutt-remediation "));
    let line = line.expect("it says what the user needs");
    let word = |word: &str| word.trim_matches('\'').replace("<password>", PASSWORD);
    line.split(' ').map(word).collect()
}

fn letter(host: &str, message: &str, more: &str) -> String {
    format!(
        r#"{{"hostname":"{host}","timestamp":"2026-01-01T00:00:00Z","message":"{message}"{more}}}"#
    )
}

/// Of each reason, and some that have been replayed before.
fn failed() -> Vec<String> {
    let mut all = vec![README.to_owned()];
    for i in 0..6 {
        let host = format!("sw{}", 1 + i % 3);
        let message = format!("connection refused by host {i}");
        all.push(letter(&host, &message, r#","_retry_count":4"#));
        let shed = r#","shedding_reason":"queue_depth_exceeded:2500>2000""#;
        all.push(letter(&host, &format!("shed {i}"), shed));
        let again = format!(
            r#","_retry_count":4,"_remediation_count":1,"_remediation_at":{}"#,
            ago(900)
        );
        all.push(letter(&host, &format!("again {i}"), &again));
    }
    all
}

fn parked() -> Vec<String> {
    let mut all = vec!["[1,2]".to_owned(), README.to_owned()];
    for i in 0..60 {
        let stamp = format!(
            r#","_retry_count":4,"_remediation_count":3,"_remediation_at":{},"_remediation_reason":"retries_exhausted","_remediation_dead_at":{}"#,
            ago(700),
            ago(600)
        );
        all.push(letter("sw1", &format!("poison {i}"), &stamp));
    }
    let stamp = format!(
        r#","_moog_retry_count":9,"_remediation_reason":"retries_exhausted","_remediation_dead_at":{}"#,
        ago(500)
    );
    all.push(letter("sw2", "link down", &stamp));
    all
}

fn ago(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_secs() - seconds
}
