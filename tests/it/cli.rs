//! The command line as operators and their scripts use it: on Redis itself, and through the API of
//! a daemon.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::daemon::command;
use crate::support::{DEAD, Redis, SOURCE, TARGET, until};

mod here;
mod remote;
mod terminal;
mod tls;

/// A command line with the variables of a daemon on this server.
pub(crate) struct Cli {
    variables: Vec<(String, String)>,
    url: Option<String>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cli {
    fn on(redis: &Redis, more: &[(&str, &str)]) -> Self {
        let port = redis.port().to_string();
        let fixed = [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", port.as_str()),
            ("POD_NAME", "here"),
            ("USER", "alice"),
        ];
        let all = fixed.iter().chain(more);
        let owned = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            variables: owned.collect(),
            url: None,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let variables = self.variables.iter();
        let variables: Vec<(&str, &str)> = variables
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut command = command(&variables);
        command.args(arguments);
        if let Some(url) = &self.url {
            command.args(["--url", url]);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may end without reading.
        let _ = stdin.write_all(input);
        drop(stdin);
        Said::of(&child.wait_with_output().expect("it ends"))
    }

    /// Runs it to its end, which must be a good one.
    fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out
    }

    /// The same, as JSON.
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let all: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
        serde_json::from_str(&self.done(&all)).expect("JSON")
    }
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// A dead letter of a host.
fn letter(host: &str, says: &str) -> String {
    format!(
        r#"{{"hostname":"{host}","timestamp":1700000000,"message":"{says}","_retry_count":4,"_correlation_id":"c-{says}"}}"#
    )
}

fn letters(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| letter(&format!("sw{}", i % 3), &format!("m{i}")))
        .collect()
}

#[test]
fn every_command_has_completions_and_a_place_in_the_manual() {
    let run =
        |arguments: &[&str]| Said::of(&command(&[]).args(arguments).output().expect("it runs"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = run(&["completions", shell]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("restore"), "{shell}");
    }
    let man = run(&["man"]);
    assert_eq!(man.code, 0, "{man:?}");
    let help = run(&["--help"]);
    let page = std::fs::read_to_string("docs/CLI.md").expect("it exists");
    for name in [
        "status",
        "slo",
        "ls",
        "show",
        "plan",
        "replay",
        "bury",
        "restore",
        "purge",
        "edit",
        "export",
        "import",
        "pause",
        "resume",
        "config",
        "audit",
        "runs",
        "top",
        "rules",
        "completions",
        "man",
    ] {
        assert!(man.out.contains(&format!(".SS \"{name}\"")), "{name}");
        assert!(help.out.contains(&format!("\n  {name} ")), "{name}");
        assert!(page.contains(&format!("`{name}")), "{name}");
        let own = run(&[name, "--help"]);
        assert_eq!(own.code, 0, "{name}");
    }
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "130 "] {
        assert!(help.out.contains(&format!("\n  {code}")), "{code}");
        assert!(page.contains(&format!("| `{}` |", code.trim())), "{code}");
    }
}

#[test]
fn a_wrong_command_line_or_environment_is_exit_code_2_and_names_what_is_wrong() {
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        Said::of(
            &command(variables)
                .args(arguments)
                .output()
                .expect("it runs"),
        )
    };
    let said = run(&["ls", "alerter", "--min-age", "soon"], &[]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("1h30m"), "{said:?}");
    let said = run(&["status"], &[("REDIS_PORT", "many")]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("REDIS_PORT"), "{said:?}");
    let said = run(
        &["status", "--url", "http://operator:secret@localhost"],
        &[],
    );
    assert_eq!(said.code, 2, "{said:?}");
    assert!(!said.err.contains("secret"), "{said:?}");
    let missing = [
        "status",
        "--url",
        "http://localhost:1",
        "--key-file",
        "/nowhere",
    ];
    let said = run(&missing, &[]);
    assert_eq!(said.code, 2, "{said:?}");
    let said = run(&["status", "--key-file", "x"], &[]);
    assert_eq!(said.code, 2, "a key without an address: {said:?}");
}

#[test]
fn what_does_not_answer_is_exit_code_1() {
    let port = mutt_remediation::demo::server::free_port()
        .expect("a port")
        .to_string();
    let here = command(&[("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)])
        .args(["ls"])
        .output();
    let said = Said::of(&here.expect("it runs"));
    assert_eq!(said.code, 1, "{said:?}");
    let url = format!("http://127.0.0.1:{port}");
    let remote = command(&[]).args(["ls", "--url", &url]).output();
    let said = Said::of(&remote.expect("it runs"));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("does not answer"), "{said:?}");
}
