//! The same through the API of a daemon.

use super::*;
use crate::support::Daemon;

const KEY: &str = "a key of more than sixteen characters";
const READ_KEY: &str = "another-key-of-more-than-sixteen";

/// A daemon with an API that drains nothing, and a command line that asks it.
async fn daemon(redis: &Redis) -> (Daemon, Cli) {
    let key = KEY.replace(' ', "-");
    let daemon = Daemon::start(
        redis,
        &[
            ("REMEDIATION_ENABLED", "false"),
            ("API_PORT_REMEDIATION", "0"),
            ("API_BIND_REMEDIATION", "127.0.0.1"),
            ("REMEDIATION_API_KEY", &key),
            ("REMEDIATION_API_READ_KEY", READ_KEY),
        ],
    );
    let cli = Cli::at(&daemon, &key).await;
    (daemon, cli)
}

impl Cli {
    pub(super) async fn at(daemon: &Daemon, key: &str) -> Self {
        let url = format!("http://127.0.0.1:{}", daemon.port("api").await);
        let variables = [("REMEDIATION_API_KEY", key), ("USER", "alice")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            variables: variables.into(),
            url: Some(url),
        }
    }
}

#[tokio::test]
async fn a_filter_is_planned_and_run_by_the_daemon() {
    let redis = Redis::start();
    redis.dead_letter(&letters(30)).await;
    let (_daemon, cli) = daemon(&redis).await;
    assert_eq!(cli.json(&["status"])["queues"][0]["depth"], 30);
    assert!(cli.done(&["top"]).contains("alerter"));
    let page = cli.json(&[
        "ls",
        "alerter",
        "-n",
        "0",
        "--field",
        "hostname=sw1",
        "--newest",
    ]);
    assert_eq!(page["messages"].as_array().expect("messages").len(), 10);
    assert!(cli.done(&["show", "alerter"]).contains("failed"));

    let said = cli.run(&[
        "replay", "alerter", "--host", "sw0", "--yes", "--rate", "1000",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("moved 10 of 10"), "{said:?}");
    let plan = cli.json(&["plan", "alerter", "bury", "--host", "sw1", "--limit", "4"]);
    let ticket = plan["token"].as_str().expect("a token");
    assert_eq!(cli.json(&["bury", "--plan", ticket, "-y"])["moved"], 4);
    assert_eq!((redis.len(TARGET).await, redis.len(DEAD).await), (10, 4));
    let runs = cli.json(&["runs"]);
    let id = runs[0]["run"].as_str().expect("an id");
    assert!(cli.done(&["runs", "show", id]).contains("moved 4 of 4"));
    assert_eq!(cli.run(&["runs", "cancel", id]).code, 1, "it has ended");
}

#[tokio::test]
async fn messages_are_moved_edited_exported_and_imported_through_the_daemon() {
    let redis = Redis::start();
    let mut all: Vec<Vec<u8>> = letters(3).into_iter().map(String::into_bytes).collect();
    all.push(b"\xff no text".to_vec());
    redis.dead_letter(&all).await;
    let (_daemon, cli) = daemon(&redis).await;
    let page = cli.json(&["ls", "alerter"]);
    let digest = |at: usize| page["messages"][at]["digest"].as_str().expect("a digest");

    let text = cli.done(&["export", "alerter"]);
    assert_eq!(text.lines().count(), 5, "{text}");
    let said = cli.run_with(&["import", "dead", "--yes"], text.as_bytes());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(redis.list(DEAD).await, all);
    let raw = cli
        .command(&["show", "alerter", digest(3), "--raw"])
        .output();
    assert_eq!(raw.expect("it runs").stdout, all[3]);

    assert_eq!(
        cli.json(&["replay", "alerter", &digest(0)[..12], "-y"])["moved"],
        1
    );
    let new = r#"{"hostname":"sw9"}"#;
    let edit = ["edit", "alerter", digest(1), "-y", "--from", "-", "--json"];
    let said = cli.run_with(&edit, new.as_bytes());
    assert_eq!(said.code, 0, "{said:?}");
    let outcome: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let original = outcome["original"].as_str().expect("an id");
    let kept = cli.done(&["show", "alerter", "--original", original, "--raw"]);
    assert_eq!(kept.as_bytes(), all[1]);
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (2, 2));
    let audit = cli.done(&["audit", "--kind", "act"]);
    assert!(audit.contains("operator:alice@"), "{audit}");
}

#[tokio::test]
async fn pauses_and_settings_go_through_the_daemon() {
    let redis = Redis::start();
    let (_daemon, cli) = daemon(&redis).await;
    cli.done(&["pause", "alerter", "--reason", "db down", "--for", "30m"]);
    assert!(cli.done(&["status"]).contains("db down"));
    cli.done(&["resume", "alerter"]);
    cli.done(&["config", "set", "max_poison_retries", "7"]);
    assert!(
        cli.done(&["config", "get", "max_poison_retries"])
            .contains('7')
    );
    cli.done(&["config", "unset", "max_poison_retries"]);
}

#[tokio::test]
async fn refusals_have_the_same_words_and_codes_as_on_redis_itself() {
    let redis = Redis::start();
    redis.dead_letter(&letters(1)).await;
    let (daemon, remote) = daemon(&redis).await;
    let here = Cli::on(&redis, &[]);
    for arguments in [
        &["ls", "nowhere"][..],
        &["show", "alerter", "0123456789"],
        &["purge", "nowhere", "--all", "--yes"],
        &["restore", "alerter", "--all", "--yes"],
        &["config", "get", "nothing"],
        &["config", "set", "max_poison_retries", "many"],
        &["resume", "alerter"],
        &["pause", "dead", "--reason", "x"],
        &["runs", "show", "nothing"],
        &["ls", "alerter", "--cursor", "nonsense"],
        &["ls", ""],
        &["ls", "a/../alerter"],
    ] {
        let (here, remote) = (here.run(arguments), remote.run(arguments));
        assert_eq!(here.code, remote.code, "{arguments:?}: {here:?} {remote:?}");
        assert_eq!(here.err, remote.err, "{arguments:?}");
    }
    for name in ["..", "alerter\n", "\talerter"] {
        for arguments in [&["ls", name][..], &["purge", name, "--all", "--yes"]] {
            let (here, remote) = (here.run(arguments), remote.run(arguments));
            assert_eq!((here.code, remote.code), (4, 4), "{here:?} {remote:?}");
        }
    }
    assert_eq!(redis.len(SOURCE).await, 1);
    let wrong = Cli::at(&daemon, "a-wrong-key-of-some-length").await;
    let said = wrong.run(&["status"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("REMEDIATION_API_KEY"), "{said:?}");
    let reader = Cli::at(&daemon, READ_KEY).await;
    reader.done(&["ls", "alerter"]);
    let said = reader.run(&["pause", "alerter", "--reason", "x"]);
    assert_eq!(said.code, 2, "{said:?}");
}

#[tokio::test]
async fn a_key_may_come_from_a_file() {
    let redis = Redis::start();
    let (daemon, _) = daemon(&redis).await;
    let mut cli = Cli::at(&daemon, "").await;
    assert_eq!(cli.run(&["status"]).code, 2);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "{}", KEY.replace(' ', "-")).expect("writable");
    let path = file.path().to_str().expect("text").to_owned();
    cli.done(&["status", "--key-file", &path]);
    cli.variables
        .push(("REMEDIATION_API_KEY_FILE".to_owned(), path));
    cli.done(&["status"]);
}
