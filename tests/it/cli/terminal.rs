//! What differs on a terminal. `script` lends one.

use std::io::Read as _;

use super::*;

impl Cli {
    /// Runs it on a terminal of 80 columns on which this is typed.
    fn typed(&self, arguments: &str, input: &str) -> Said {
        self.typed_after("", arguments, input)
    }

    /// The same, once it has shown something.
    fn typed_after(&self, shown: &str, arguments: &str, input: &str) -> Said {
        let mut command = self.on_terminal(arguments);
        let mut child = command.spawn().expect("`script` is part of Debian");
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut stdout = child.stdout.take().expect("a pipe");
        let mut out = vec![];
        let mut byte = [0];
        while !String::from_utf8_lossy(&out).contains(shown) {
            assert_eq!(stdout.read(&mut byte).expect("it shows more"), 1, "{out:?}");
            out.push(byte[0]);
        }
        stdin.write_all(input.as_bytes()).expect("it reads");
        stdout.read_to_end(&mut out).expect("it ends");
        let mut output = child.wait_with_output().expect("it ends");
        drop(stdin);
        output.stdout = out;
        Said::of(&output)
    }

    fn on_terminal(&self, arguments: &str) -> Command {
        let program = self.command(&[]);
        let mut command = Command::new("script");
        let line = format!(
            "stty cols 80 rows 24; exec {} {arguments}",
            program.get_program().display()
        );
        command.args(["-qefc", &line, "/dev/null"]).env_clear();
        command.env("TERM", "xterm");
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

#[tokio::test]
async fn a_purge_needs_the_number_of_messages_typed() {
    let redis = Redis::start();
    redis.dead_letter(&letters(7)).await;
    let cli = Cli::on(&redis, &[]);
    let said = cli.typed_after("go on: ", "purge alerter --all", "y\n");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("Type 7 to go on"), "{said:?}");
    assert_eq!(redis.len(SOURCE).await, 7);
    let said = cli.typed_after("go on: ", "purge alerter --all", "7\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(redis.len(SOURCE).await, 0);
}

#[tokio::test]
async fn a_replay_needs_a_yes() {
    let redis = Redis::start();
    redis.dead_letter(&letters(7)).await;
    let cli = Cli::on(&redis, &[]);
    assert_eq!(
        cli.typed_after("[y/N] ", "replay alerter --host sw1", "\n")
            .code,
        1
    );
    assert_eq!(
        cli.typed_after("[y/N] ", "replay alerter --host sw1", "\u{3}")
            .code,
        130
    );
    assert_eq!(redis.len(TARGET).await, 0);
    assert_eq!(
        cli.typed_after("[y/N] ", "replay alerter --host sw1", "y\n")
            .code,
        0
    );
    assert_eq!(redis.len(TARGET).await, 2);
}

#[tokio::test]
async fn lists_fit_the_terminal_and_colours_can_be_switched_off() {
    let redis = Redis::start();
    redis
        .dead_letter(&[letter("sw1", &"日本 long ".repeat(30))])
        .await;
    let cli = Cli::on(&redis, &[]);
    let said = cli.typed("ls alerter", "");
    assert!(said.out.contains("\x1b[1mid"), "{said:?}");
    for line in said.out.lines().take(2) {
        assert!(console_width(line) <= 80, "{line:?}");
    }
    let plain = Cli::on(&redis, &[("NO_COLOR", "1")]);
    let said = plain.typed("ls alerter", "");
    assert!(
        !said.out.contains('\x1b') && said.out.contains("sw1"),
        "{said:?}"
    );
    let said = cli.typed("show alerter --original 1-0 --raw", "");
    assert_eq!(said.code, 2, "raw bytes do not go to a terminal: {said:?}");
}

#[tokio::test]
async fn an_id_can_be_copied_from_a_narrow_terminal() {
    let redis = Redis::start();
    let wide = letter("a-host-with-a-long-name", &"says ".repeat(30));
    redis.dead_letter(&[&wide]).await;
    let cli = Cli::on(&redis, &[]);
    let id = mutt_remediation::audit::digest(wide.as_bytes());
    let said = cli.typed("ls alerter", "");
    assert!(said.out.contains(&format!("\n{} ", &id[..12])), "{said:?}");
    cli.done(&["replay", "alerter", "--all", "--yes"]);
    let runs = cli.json(&["runs"]);
    let run = runs[0]["run"].as_str().expect("an id");
    let said = cli.typed("runs", "");
    assert!(said.out.contains(&format!("\n{run} ")), "{said:?}");
}

#[tokio::test]
async fn top_watches_a_daemon_at_work_on_redis_itself_and_through_its_api() {
    let redis = Redis::start();
    redis.dead_letter(&letters(5_000)).await;
    let key = "a-key-of-more-than-sixteen";
    let daemon = crate::support::Daemon::start(
        &redis,
        &[
            ("REMEDIATION_BATCH_SIZE", "50"),
            ("API_BIND_REMEDIATION", "127.0.0.1"),
            ("REMEDIATION_API_KEY", key),
        ],
    );
    until("it drains", || async { redis.len(TARGET).await > 0 }).await;
    let cli = Cli::on(&redis, &[("REMEDIATION_API_KEY", key)]);
    let here = "top --interval 1".to_owned();
    let port = daemon.port("api").await;
    let remote = format!("{here} --url http://127.0.0.1:{port}");
    for (arguments, drains) in [(here, false), (remote, true)] {
        // Its rate is told from two looks: the queue becomes shorter while it is watched.
        let said = cli.typed_after(" -50.0 ", &arguments, "\u{3}");
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(said.out.contains("last pass"), drains, "{said:?}");
    }
    assert!(redis.len(SOURCE).await > 0, "it was at work all the time");
}

#[tokio::test]
async fn an_editor_may_be_interrupted_and_ends_by_itself() {
    let redis = Redis::start();
    redis.dead_letter(&letters(1)).await;
    let page = Cli::on(&redis, &[]).json(&["ls", "alerter"]);
    let id = page["messages"][0]["digest"].as_str().expect("a digest");
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("text");
    // What is typed comes to it and to its parent alike.
    let editor =
        "sh -c 'trap \"echo still here\" INT; echo ready; read line; echo \"read $line\"; exit 3'";
    let cli = Cli::on(&redis, &[("EDITOR", editor), ("TMPDIR", place)]);
    let said = cli.typed_after("ready", &format!("edit alerter {id}"), "\u{3}\nword\n");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("still here"), "{said:?}");
    assert!(said.out.contains("ended with exit status: 3"), "{said:?}");
    assert_eq!(std::fs::read_dir(place).expect("it exists").count(), 0);
}

#[tokio::test]
async fn top_leaves_the_terminal_as_it_was() {
    let redis = Redis::start();
    redis.dead_letter(&letters(7)).await;
    let cli = Cli::on(&redis, &[]);
    let (enter, leave) = ("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l");
    let said = cli.typed_after("alerter", "top --interval 1", "\u{3}");
    assert_eq!(said.code, 0, "{said:?}");
    let at = |text| said.out.find(text).unwrap_or_else(|| panic!("{said:?}"));
    assert!(at(enter) < at(leave), "{said:?}");
}

/// Columns that a line takes, colours left out.
fn console_width(line: &str) -> usize {
    let mut plain = String::new();
    let mut rest = line.trim_end();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    // The wide ones of these tests.
    plain
        .chars()
        .map(|c| if c > '\u{2e80}' { 2 } else { 1 })
        .sum()
}
