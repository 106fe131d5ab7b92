//! What each command does, on Redis itself.

use std::io::Read as _;

use super::*;

#[tokio::test]
async fn what_is_there_is_listed_for_people_and_for_programs() {
    let redis = Redis::start();
    let all = letters(30);
    redis.dead_letter(&all).await;
    let cli = Cli::on(&redis, &[]);

    let status = cli.json(&["status"]);
    assert_eq!(status["redis"], "up");
    assert_eq!(status["queues"][0]["depth"], 30);
    assert!(cli.done(&["status"]).contains("mutt:dlq:alerter"));
    assert!(cli.done(&["ls"]).contains("alerter"));
    assert!(
        cli.done(&["top"]).contains("alerter"),
        "one look without a terminal"
    );

    let list = cli.done(&["ls", "alerter", "-n", "5", "--host", "sw1"]);
    assert_eq!(list.lines().count(), 1 + 5 + 1, "{list}");
    assert!(list.contains("--cursor"), "there is more: {list}");
    let page = cli.json(&["ls", "alerter", "-n", "0", "--host", "sw1"]);
    assert_eq!(page["messages"].as_array().expect("messages").len(), 10);
    assert_eq!(page["messages"][0]["summary"], "m1");
    let lines = cli.done(&["ls", "alerter", "-n", "0", "--newest", "--ndjson"]);
    let oldest: serde_json::Value =
        serde_json::from_str(lines.lines().last().expect("lines")).expect("JSON");
    assert_eq!(
        (lines.lines().count(), &oldest["summary"]),
        (30, &"m0".into())
    );
    let count = cli.done(&["ls", "alerter", "--count", "--contains", "message~M1"]);
    assert!(count.starts_with("11 messages "), "{count}");

    let detail = cli.done(&["show", "alerter"]);
    assert!(
        detail.contains("failed") && detail.contains("older"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_unknown_name_is_exit_code_4() {
    let redis = Redis::start();
    redis.dead_letter(&letters(1)).await;
    let cli = Cli::on(&redis, &[]);
    for arguments in [
        &["ls", "nowhere"][..],
        &["show", "alerter", "0123456789"],
        &["replay", "alerter", "0123456789", "--yes"],
        &["replay", "nowhere", "0123456789", "--yes"],
        &["purge", "nowhere", "--all", "--yes"],
        &["config", "get", "nothing"],
        &["config", "unset", "nothing"],
        &["runs", "show", "nothing"],
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, 4, "{arguments:?}: {said:?}");
    }
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn messages_are_moved_by_the_ids_that_are_listed() {
    let redis = Redis::start();
    let all = letters(3);
    redis.dead_letter(&all).await;
    let cli = Cli::on(&redis, &[]);
    let page = cli.json(&["ls", "alerter"]);
    let digest = |at: usize| page["messages"][at]["digest"].as_str().expect("a digest");
    let list = cli.done(&["ls", "alerter"]);
    let id = list.lines().nth(2).and_then(|line| line.split(' ').next());
    assert!(digest(1).starts_with(id.expect("an id")), "{list}");

    let said = cli.run(&["replay", "alerter", id.expect("an id")]);
    assert_eq!(said.code, 2, "nobody was asked: {said:?}");
    assert!(
        said.err.contains("--yes") && said.err.contains("m1"),
        "{said:?}"
    );
    assert_eq!(redis.len(SOURCE).await, 3);

    let moved = cli.done(&["replay", "alerter", id.expect("an id"), "--yes"]);
    assert_eq!(moved, "replay: moved 1 of 1\n");
    let said = cli.run(&["bury", "alerter", digest(0), "0123456789abcdef", "--yes"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.out.contains("moved 1 of 2; 1 not found"), "{said:?}");
    assert_eq!(redis.len(TARGET).await, 1);
    assert_eq!(redis.len(DEAD).await, 1);

    let buried = cli.json(&["ls", "dead"]);
    assert_eq!(buried["messages"][0]["reason"], "operator");
    let id = buried["messages"][0]["digest"].as_str().expect("a digest");
    let outcome = cli.json(&["restore", "dead", id, "-y"]);
    assert_eq!(outcome["moved"], 1);
    assert_eq!((redis.len(SOURCE).await, redis.len(DEAD).await), (2, 0));

    let audit = cli.done(&["audit", "--kind", "act"]);
    assert!(
        audit.contains("alice@") && audit.contains("restore"),
        "{audit}"
    );
}

#[tokio::test]
async fn a_filter_is_planned_shown_and_run() {
    let redis = Redis::start();
    redis.dead_letter(&letters(30)).await;
    let cli = Cli::on(&redis, &[]);

    let said = cli.run(&["replay", "alerter"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("--all"), "{said:?}");
    let said = cli.run(&["replay", "alerter", "--host", "sw0"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("10 would be moved to mutt:ingest_queue"),
        "{said:?}"
    );
    assert_eq!(redis.len(SOURCE).await, 30);

    let said = cli.run(&["replay", "alerter", "--host", "sw0", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.out,
        "replay: moved 10 of 10 (alerter had 30 messages and has 20)\n"
    );
    let run = cli.json(&["bury", "alerter", "--host", "sw1", "--limit", "3", "-y"]);
    assert_eq!((&run["state"], &run["moved"]), (&"done".into(), &3.into()));
    let said = cli.run(&["purge", "alerter", "--all", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(redis.len(SOURCE).await, 0);
    assert_eq!((redis.len(TARGET).await, redis.len(DEAD).await), (10, 3));

    let said = cli.run(&["purge", "alerter", "--all", "--yes"]);
    assert_eq!(said.code, 0, "there was nothing to do: {said:?}");
    let runs = cli.json(&["runs"]);
    assert_eq!(runs.as_array().expect("runs").len(), 3);
    let id = runs[0]["run"].as_str().expect("an id");
    assert!(cli.done(&["runs", "show", id]).contains("moved"));
    assert!(cli.done(&["runs"]).contains(id));
    let said = cli.run(&["runs", "cancel", id]);
    assert_eq!(said.code, 1, "it has ended: {said:?}");
}

#[tokio::test]
async fn the_exit_code_admits_that_little_or_nothing_was_moved() {
    let redis = Redis::start();
    let cli = Cli::on(
        &redis,
        &[("REPLAY_REQUIRED_FIELDS", "hostname,timestamp,message")],
    );
    redis.dead_letter(&["{}", "[1]"]).await;
    let said = cli.run(&["replay", "alerter", "--all", "--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.starts_with("replay: moved 0 of 2; "), "{said:?}");

    redis.dead_letter(&letters(2)).await;
    let said = cli.run(&["replay", "alerter", "--all", "--yes"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.out.starts_with("replay: moved 2 of 2; 2 left "),
        "{said:?}"
    );
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (2, 2));
}

#[tokio::test]
async fn a_plan_can_be_run_later_once_and_only_as_what_it_is() {
    let redis = Redis::start();
    redis.dead_letter(&letters(4)).await;
    let cli = Cli::on(&redis, &[]);
    let plan = cli.json(&["plan", "alerter", "purge", "--all"]);
    let ticket = plan["token"].as_str().expect("a token");
    assert!(ticket.starts_with("purge:4:alerter."), "{ticket}");
    assert!(
        cli.done(&["plan", "alerter", "replay", "--all"])
            .contains("--plan replay:4:alerter.")
    );

    let said = cli.run(&["replay", "--plan", ticket, "--yes"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("to purge, not to replay"), "{said:?}");
    let bare = ticket.rsplit(':').next().expect("a token");
    assert_eq!(cli.run(&["purge", "--plan", bare, "--yes"]).code, 2);
    assert_eq!(
        cli.run(&["purge", "--plan", ticket]).code,
        2,
        "nobody was asked"
    );
    assert_eq!(redis.len(SOURCE).await, 4);

    let said = cli.run(&["purge", "--plan", ticket, "--yes"]);
    assert_eq!((said.code, redis.len(SOURCE).await), (0, 0), "{said:?}");
    let said = cli.run(&["purge", "--plan", ticket, "--yes"]);
    assert_eq!(said.code, 4, "a second time: {said:?}");
}

#[tokio::test]
async fn a_message_is_edited_and_its_old_bytes_are_kept() {
    let redis = Redis::start();
    let old = r#"{"hostname":"sw1", "timestamp":1700000000,"message":"no\u0001","n":1.10,"_retry_count":4}"#;
    redis.dead_letter(&[old]).await;
    let cli = Cli::on(&redis, &[("EDITOR", "sed -i s/sw1/sw2/")]);
    let page = cli.json(&["ls", "alerter"]);
    let id = page["messages"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();

    let said = cli.run(&["edit", "alerter", &id]);
    assert_eq!(said.code, 2, "nobody was asked: {said:?}");
    assert!(said.err.contains("-   \"hostname\": \"sw1\""), "{said:?}");
    assert!(said.err.contains("+   \"hostname\": \"sw2\""), "{said:?}");
    let same = Cli::on(&redis, &[("EDITOR", "true")]);
    assert_eq!(
        same.run(&["edit", "alerter", &id, "--yes"]).code,
        1,
        "nothing was changed"
    );
    let broken = Cli::on(&redis, &[("VISUAL", "sed -i s/{//"), ("EDITOR", "true")]);
    let said = broken.run(&["edit", "alerter", &id, "--yes"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("not JSON"), "{said:?}");
    assert_eq!(redis.len(SOURCE).await, 1);

    let outcome = cli.json(&["edit", "alerter", &id, "--yes"]);
    assert_eq!(outcome["moved"], true);
    let arrived = redis.texts(TARGET).await.remove(0);
    assert!(
        arrived.starts_with(r#"{"hostname":"sw2","timestamp":1700000000,"#),
        "{arrived}"
    );
    assert!(
        arrived.contains(r#""message":"no\u0001","n":1.10"#),
        "{arrived}"
    );
    let original = outcome["original"].as_str().expect("an id");
    let kept = cli.done(&["show", "alerter", "--original", original, "--raw"]);
    assert_eq!(kept, old);
}

#[tokio::test]
async fn an_edit_from_a_file_needs_no_editor() {
    let redis = Redis::start();
    redis.dead_letter(&letters(1)).await;
    let cli = Cli::on(&redis, &[]);
    let page = cli.json(&["ls", "alerter"]);
    let id = page["messages"][0]["digest"].as_str().expect("a digest");
    assert_eq!(cli.run(&["edit", "alerter", id, "-y"]).code, 2, "no editor");
    let new = "{\n \"hostname\": \"sw9\"\n}";
    let said = cli.run_with(
        &["edit", "alerter", id, "-y", "--from", "-"],
        new.as_bytes(),
    );
    assert_eq!(said.code, 0, "{said:?}");
    let arrived = redis.texts(TARGET).await.remove(0);
    assert!(arrived.starts_with(r#"{"hostname":"sw9""#), "{arrived}");
}

#[tokio::test]
async fn an_export_can_be_imported_byte_for_byte() {
    let redis = Redis::start();
    let mut all: Vec<Vec<u8>> = letters(1_203).into_iter().map(String::into_bytes).collect();
    all.push(b"\xff\x1b[2J\n".to_vec());
    all.push("\u{202e}\u{9b}".into());
    redis.dead_letter(&all).await;
    let cli = Cli::on(&redis, &[]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("letters.ndjson");
    let path = file.to_str().expect("text");
    let said = cli.done(&["export", "alerter", "--to", path]);
    assert!(said.starts_with("1,205 messages "), "{said}");
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert_eq!(text, cli.done(&["export", "alerter"]));
    assert!(text.ends_with("{\"end\":{\"lines\":1205}}\n"));
    assert!(
        !text.chars().any(|c| c != '\n' && c.is_control()),
        "it steers no terminal"
    );

    assert_eq!(
        cli.run(&["import", "dead", path]).code,
        2,
        "nobody was asked"
    );
    let said = cli.done(&["import", "dead", path, "--yes"]);
    assert_eq!(said, "1,205 messages imported; dead has 1,205 now\n");
    assert_eq!(redis.list(DEAD).await, all);

    let cut: Vec<&str> = text.lines().skip(3).collect();
    let cut = cut.join("\n");
    let said = cli.run_with(&["import", "dead", "--yes"], cut.as_bytes());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("had 1205 messages, here are 1202"),
        "{said:?}"
    );
    let forged = text.replacen("m700", "m7oo", 1);
    let said = cli.run_with(&["import", "dead", "-", "--yes"], forged.as_bytes());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("line 701"), "{said:?}");
    assert_eq!(redis.len(DEAD).await, 1_205);

    let line = format!(
        "exec {} import dead -y <(tail -n 2 {path} | head -n 1)",
        cli.command(&[]).get_program().display()
    );
    let mut piped = Command::new("bash");
    piped.args(["-c", &line]).env_clear();
    piped.envs(
        cli.command(&[])
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let said = Said::of(&piped.output().expect("it runs"));
    assert_eq!(said.code, 0, "a pipe can be read once only: {said:?}");
    let said = cli.run_with(&["import", "dead", "--skip", "1204", "-y"], text.as_bytes());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(redis.list(DEAD).await.last(), all.last());
}

#[tokio::test]
async fn an_import_that_is_interrupted_ends_after_the_part_in_flight() {
    let redis = Redis::start();
    let cli = Cli::on(&redis, &[]);
    let lines: Vec<String> = (0..2_500).map(|i| format!(r#"{{"body":"{i}"}}"#)).collect();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "{}", lines.join("\n")).expect("writable");
    let path = file.path().to_str().expect("text");
    // The first part is in flight for as long as Redis stands still.
    redis.signal("-STOP");
    let mut command = cli.command(&["import", "dead", path, "--yes"]);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    let id = child.id().to_string();
    // It has looked for interruptions once by the time that it connects.
    let to = format!(":{:04X} 01 ", redis.port());
    until("it is connected", || async {
        let lines = std::fs::read_to_string("/proc/net/tcp").expect("it can be read");
        lines.contains(&to)
    })
    .await;
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.expect("kill").success());
    redis.signal("-CONT");
    let said = Said::of(&child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 130, "{said:?}");
    assert!(said.err.contains("1000 of 2500 were imported"), "{said:?}");
    assert!(said.err.contains("--skip 1000"), "{said:?}");
    assert_eq!(redis.len(DEAD).await, 1_000);
}

#[tokio::test]
async fn an_export_that_fails_leaves_no_file() {
    let redis = Redis::start();
    let cli = Cli::on(&redis, &[]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x");
    let said = cli.run(&["export", "nowhere", "--to", file.to_str().expect("text")]);
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("it exists").count(), 0);
}

#[tokio::test]
async fn pauses_and_settings_are_set_and_taken_back() {
    let redis = Redis::start();
    let cli = Cli::on(&redis, &[]);
    let said = cli.done(&["pause", "alerter", "--reason", "db down", "--for", "30m"]);
    assert!(said.contains("db down (alice@"), "{said}");
    assert!(cli.done(&["status"]).contains("db down"));
    assert!(cli.done(&["resume", "alerter"]).contains("drained again"));
    assert_eq!(cli.run(&["resume", "alerter"]).code, 1, "it is not paused");
    assert_eq!(cli.run(&["pause", "dead", "--reason", "x"]).code, 1);

    let said = cli.run(&[
        "config",
        "set",
        "remediation_batch_size",
        "77",
        "--for",
        "1h",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("DYNAMIC_CONFIG_ENABLED"), "{said:?}");
    assert!(
        cli.done(&["config", "get", "remediation_batch_size"])
            .contains("77")
    );
    let key = "mutt:config:remediation_batch_size";
    assert!(redis.command::<i64>(&["TTL", key]).await > 3_000);
    let said = cli.run(&["config", "set", "remediation_batch_size", "many"]);
    assert_eq!(said.code, 2, "{said:?}");
    cli.done(&["config", "unset", "remediation_batch_size"]);
    assert_eq!(redis.command::<i64>(&["EXISTS", key]).await, 0);
    assert!(cli.json(&["config"]).as_array().expect("settings").len() > 5);
}

#[tokio::test]
async fn what_redis_says_of_the_settings_counts_as_it_does_for_a_daemon() {
    let redis = Redis::start();
    let failed = r#"{"hostname":"a","timestamp":1,"message":"m","_moog_retry_count":2}"#;
    redis.dead_letter(&[failed]).await;
    let key = "mutt:config:max_poison_retries";
    redis.command::<()>(&["SET", key, "2"]).await;
    let dynamic = Cli::on(&redis, &[("DYNAMIC_CONFIG_ENABLED", "true")]);
    let fixed = Cli::on(&redis, &[]);
    let id = mutt_remediation::audit::digest(failed.as_bytes());
    let would = |cli: &Cli| cli.json(&["show", "alerter", &id])["disposition"].clone();
    let exhausted = |cli: &Cli| {
        let plan = cli.json(&["plan", "alerter", "bury", "--reason", "retries_exhausted"]);
        let counts = cli.json(&["show", "alerter"])["by_reason"]["retries_exhausted"].clone();
        (plan["matched"].clone(), counts)
    };
    assert_eq!(would(&fixed), "replay");
    assert_eq!(exhausted(&fixed), (0.into(), serde_json::Value::Null));
    assert_eq!(would(&dynamic), "dead");
    assert_eq!(exhausted(&dynamic), (1.into(), 1.into()));
    redis.command::<()>(&["SET", key, "many"]).await;
    assert_eq!(
        would(&dynamic),
        "replay",
        "the environment's, for a bad one"
    );
    redis.command::<()>(&["DEL", key]).await;
    redis.command::<()>(&["LPUSH", key, "2"]).await;
    assert_eq!(would(&dynamic), "replay", "of another type");

    redis
        .command::<()>(&[
            "ACL",
            "SETUSER",
            "default",
            "resetkeys",
            "~mutt:dlq:*",
            "~mutt:remediation:*",
        ])
        .await;
    let said = dynamic.run(&["ls", "alerter"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err.contains("those of the environment count"),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_written_is_a_failure_and_a_reader_that_goes_away_is_none() {
    let redis = Redis::start();
    redis.dead_letter(&letters(2_000)).await;
    let cli = Cli::on(&redis, &[]);
    for arguments in [
        &["ls", "alerter"][..],
        &["ls", "alerter", "--json"],
        &["show", "alerter"],
        &["status"],
        &["audit"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut command = cli.command(arguments);
        command.stdout(full.expect("it is there"));
        let said = Said::of(&command.output().expect("it runs"));
        assert_eq!(said.code, 1, "{arguments:?}: {said:?}");
        assert!(said.err.contains("standard output"), "{said:?}");
    }
    let mut command = cli.command(&["ls", "alerter", "-n", "0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    drop(child.stdout.take());
    let said = Said::of(&child.wait_with_output().expect("it ends"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[tokio::test]
async fn a_failure_answers_nothing_that_a_program_could_take_for_an_answer() {
    let redis = Redis::start();
    redis.dead_letter(&letters(2)).await;
    let cli = Cli::on(&redis, &[]);
    for (arguments, code) in [
        (&["ls", "nowhere"][..], 4),
        (&["ls", "alerter", "--cursor", "x"], 2),
        (&["show", "alerter", "0123456789"], 4),
        (&["plan", "alerter", "restore", "--all"], 1),
        (&["plan", "alerter", "replay", "--all", "--limit", "0"], 2),
        (&["replay", "alerter"], 2),
        (&["purge", "alerter", "--all"], 2),
        (&["bury", "--plan", "x"], 2),
        (&["config", "get", "x"], 4),
        (&["runs", "show", "x"], 4),
        (&["pause", "dead", "--reason", "x"], 1),
        (&["import", "alerter", "/nowhere", "-y"], 2),
    ] {
        let all: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
        let said = cli.run(&all);
        assert_eq!(
            (said.code, said.out.as_str()),
            (code, ""),
            "{all:?}: {said:?}"
        );
        assert!(said.err.starts_with("mutt-remediation: ") || said.err.contains("--yes"));
    }
}

#[tokio::test]
async fn a_second_interruption_leaves_what_is_in_flight() {
    let redis = Redis::start();
    redis.dead_letter(&letters(3)).await;
    let cli = Cli::on(&redis, &[("REDIS_TIMEOUT", "300")]);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, r#"{{"body":"1"}}"#).expect("writable");
    let path = file.path().to_str().expect("text");
    let page = cli.json(&["ls", "alerter"]);
    let id = page["messages"][0]["digest"].as_str().expect("a digest");
    redis
        .command::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"])
        .await;
    for arguments in [
        &["import", "dead", path, "--yes"][..],
        &["bury", "alerter", id, "--yes"],
    ] {
        let waits = async || {
            let clients: String = redis.command(&["CLIENT", "LIST"]).await;
            clients.contains(" flags=b ")
        };
        until("the last one has gone", || async { !waits().await }).await;
        let mut command = cli.command(arguments);
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        until("it waits", &waits).await;
        let said = interrupted_twice(child);
        assert_eq!(said.code, 130, "{arguments:?}: {said:?}");
    }
}

/// Interrupts it once more when it says what that would do.
fn interrupted_twice(mut child: std::process::Child) -> Said {
    let number = child.id().to_string();
    let interrupt = || {
        let sent = Command::new("kill").args(["-INT", &number]).status();
        assert!(sent.expect("kill").success());
    };
    let mut errors = child.stderr.take().expect("a pipe");
    let mut said = vec![];
    let mut byte = [0];
    interrupt();
    while !String::from_utf8_lossy(&said).contains("a second signal") {
        let read = errors.read(&mut byte).expect("readable");
        assert_eq!(read, 1, "{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
    interrupt();
    errors.read_to_end(&mut said).expect("it ends");
    let mut output = child.wait_with_output().expect("it ends");
    output.stderr = said;
    Said::of(&output)
}

#[tokio::test]
async fn a_run_that_is_interrupted_twice_stands_and_is_carried_on() {
    let redis = Redis::start();
    redis.dead_letter(&letters(300)).await;
    let cli = Cli::on(&redis, &[("REDIS_TIMEOUT", "300")]);
    let mut command = cli.command(&["replay", "alerter", "--all", "--yes", "--rate", "100"]);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    until("it has moved some", || async {
        redis.len(TARGET).await > 0
    })
    .await;
    // Neither the run nor the wish to end it comes through.
    redis
        .command::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"])
        .await;
    let said = interrupted_twice(child);
    assert_eq!((said.code, said.out.as_str()), (130, ""), "{said:?}");
    assert!(said.err.contains("stands as it is"), "{said:?}");
    redis.command::<()>(&["CLIENT", "UNPAUSE"]).await;
    let runs = cli.json(&["runs"]);
    let said = cli.run(&["runs", "follow", runs[0]["run"].as_str().expect("an id")]);
    let (left, moved) = (redis.len(SOURCE).await, redis.len(TARGET).await);
    assert_eq!(left + moved, 300, "{said:?}");
}

#[tokio::test]
async fn what_messages_say_steers_neither_terminals_nor_spreadsheets() {
    let redis = Redis::start();
    let evil = "{\"hostname\":\"=cmd|'/c calc'!A1\",\"message\":\"\\u001b]0;owned\\u0007\\u202egnp\\n+1\u{9b}2J\",\
                \"severity\":\"@SUM(1)\",\"_correlation_id\":\"-1\\u001b[2J\"}";
    redis
        .dead_letter(&[evil, "\u{1b}[2J\u{202e} no json \u{7f}"])
        .await;
    let cli = Cli::on(&redis, &[]);
    let steers = |text: &str| {
        text.chars()
            .any(|c| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)))
    };
    let page = cli.json(&["ls", "alerter"]);
    let ids = [0, 1].map(|at: usize| page["messages"][at]["digest"].as_str().expect("a digest"));
    cli.done(&["bury", "alerter", ids[1], "--yes"]);
    for arguments in [
        &["ls", "alerter"][..],
        &["ls", "alerter", "--json"],
        &["ls", "alerter", "--ndjson"],
        &["ls", "alerter", "--csv"],
        &["ls", "dead"],
        &["show", "alerter", ids[0]],
        &["show", "alerter", ids[0], "--json"],
        &["plan", "alerter", "replay", "--all"],
        &["export", "alerter"],
        &["export", "dead"],
        &["audit"],
        &["audit", "--json"],
        &["top"],
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        assert!(
            !steers(&said.out) && !steers(&said.err),
            "{arguments:?}: {said:?}"
        );
    }
    let csv = cli.done(&["ls", "alerter", "--csv"]);
    assert_eq!(csv.lines().count(), 2, "{csv}");
    for cell in [",\"'=cmd|'", ",\"'@SUM(1)\"", ",\"'-1[2J\""] {
        assert!(csv.contains(cell), "{csv}");
    }
    let raw = cli
        .command(&["show", "alerter", ids[0], "--raw"])
        .output()
        .expect("it runs");
    assert_eq!(
        raw.stdout,
        evil.as_bytes(),
        "a pipe gets the bytes as they are"
    );
}

#[tokio::test]
async fn a_run_that_is_interrupted_is_cancelled_and_says_how_far_it_came() {
    let redis = Redis::start();
    redis.dead_letter(&letters(2_000)).await;
    let cli = Cli::on(&redis, &[]);
    let arguments = ["replay", "alerter", "--all", "--yes", "--rate", "50"];
    let mut command = cli.command(&arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    until("it has moved some", || async {
        redis.len(TARGET).await > 0
    })
    .await;
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .expect("kill")
            .success()
    );
    let said = Said::of(&child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 130, "{said:?}");
    assert!(said.out.contains("of 2000; cancelled"), "{said:?}");
    let (left, moved) = (redis.len(SOURCE).await, redis.len(TARGET).await);
    assert_eq!(left + moved, 2_000);
    assert!(moved < 2_000);
}

#[tokio::test]
async fn a_run_stops_when_its_time_is_up() {
    let redis = Redis::start();
    redis.dead_letter(&letters(500)).await;
    let cli = Cli::on(&redis, &[]);
    let said = cli.run(&[
        "replay", "alerter", "--all", "-y", "--rate", "20", "--time", "1s",
    ]);
    // Where the machine stands still for that second none is moved, and that is a failure.
    let expected = if said.out.contains("moved 0 of") {
        1
    } else {
        3
    };
    assert_eq!(said.code, expected, "{said:?}");
    assert!(said.out.contains("its time was up"), "{said:?}");
}

#[tokio::test]
async fn a_run_that_was_left_is_carried_on_by_who_follows_it() {
    let redis = Redis::start();
    redis.dead_letter(&letters(300)).await;
    let cli = Cli::on(&redis, &[]);
    let arguments = ["replay", "alerter", "--all", "--yes", "--rate", "100"];
    let mut command = cli.command(&arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    until("it has moved some", || async {
        redis.len(TARGET).await > 0
    })
    .await;
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let runs = cli.json(&["runs"]);
    assert_eq!(runs[0]["state"], "running");
    let said = cli.run(&["replay", "alerter", "--all", "--yes"]);
    assert_eq!(said.code, 1, "one run at a time: {said:?}");
    let said = cli.run(&["runs", "follow", runs[0]["run"].as_str().expect("an id")]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("moved 300 of 300"), "{said:?}");
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (0, 300));
}
