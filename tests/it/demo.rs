//! The demo, as a newcomer runs it.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Mutex;

use serde_json::Value;

use crate::support::daemon::{client, command, output};
use crate::support::until;

#[test]
fn the_demo_settles_every_letter() {
    let said = output(&["demo", "--letters", "1000"], &[]);
    let text = String::from_utf8(said.stdout).expect("text");
    assert_eq!(said.status.code(), Some(0), "{text}");
    let count = |name: &str| -> u32 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect(name);
        line.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .expect("a number")
    };
    assert_eq!(count("dead letters "), 1_000);
    assert_eq!(count("handled"), 770);
    assert_eq!(count("parked: retries_exhausted"), 110);
    assert_eq!(count("parked: malformed"), 100);
    assert_eq!(count("parked: incomplete"), 20);
    for nothing in [
        "not settled",
        "lost",
        "doubled",
        "altered beyond the stamp",
        "in the wrong list",
    ] {
        assert_eq!(count(nothing), 0, "{nothing}");
    }
    assert!(
        text.contains("/health\n") && text.contains("/metrics\n"),
        "{text}"
    );
    let page = std::fs::read_to_string("README.md").expect("it exists");
    let shown = page
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    for line in shown
        .expect("a block")
        .lines()
        .filter(|line| !line.is_empty())
    {
        let alike = |found: &str| without_numbers(found) == without_numbers(line);
        assert!(text.lines().any(alike), "the README shows {line:?}; {text}");
    }
}

/// What a line says, whatever its numbers are.
fn without_numbers(line: &str) -> String {
    let words = line.split_whitespace();
    let words: Vec<&str> = words
        .map(|word| {
            if word.parse::<f64>().is_ok() {
                "N"
            } else {
                word
            }
        })
        .collect();
    words.join(" ")
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing_behind() {
    for signal in ["-INT", "-TERM"] {
        let home = tempfile::tempdir().expect("a directory");
        let mut demo = command(&[("TMPDIR", home.path().to_str().expect("text"))])
            .args(["demo", "--letters", "5000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let id = demo.id().to_string();
        let mut server = String::new();
        until("its redis-server runs", || {
            server = children(&id);
            let there = !server.is_empty();
            async move { there }
        })
        .await;
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status()
            .expect("kill exists");
        assert!(sent.success());
        let status = demo.wait().expect("it ends");
        assert_eq!(status.code(), Some(130));
        until("its redis-server is gone", || async {
            !is_alive(server.trim())
        })
        .await;
        let left = std::fs::read_dir(home.path())
            .expect("it can be read")
            .count();
        assert_eq!(left, 0, "files are left behind");
    }
}

#[tokio::test]
async fn a_demo_that_is_kept_serves_its_console_while_letters_keep_coming() {
    let home = tempfile::tempdir().expect("a directory");
    let mut demo = command(&[("TMPDIR", home.path().to_str().expect("text"))])
        .args(["demo", "--letters", "100", "--keep"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let said = BufReader::new(demo.stdout.take().expect("it was asked for"));
    let address = said
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("console ").map(str::to_owned))
        .expect("it says where its console is");
    let client = client();
    let get = async |address: String| {
        let answer = client.get(address).send().await.expect("it answers");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a body")
    };
    let page = get(address.clone()).await;
    assert!(page.contains("Sources"), "{page}");
    let status = address.replace("/console/", "/api/v1/status");
    let seen = Mutex::new(HashSet::new());
    until("several passes have replayed something", || {
        let (status, seen) = (get(status.clone()), &seen);
        async move {
            let status: Value = serde_json::from_str(&status.await).expect("JSON");
            let passes = status["drains"][0]["passes"].as_array().expect("passes");
            let moved = passes.iter().filter(|pass| pass["replayed"] != 0);
            let mut seen = seen.lock().expect("passes");
            seen.extend(moved.map(|pass| pass["at"].to_string()));
            seen.len() > 2
        }
    })
    .await;
    let sent = std::process::Command::new("kill")
        .args(["-INT", &demo.id().to_string()])
        .status()
        .expect("kill exists");
    assert!(sent.success());
    assert_eq!(demo.wait().expect("it ends").code(), Some(130));
    let left = std::fs::read_dir(home.path()).expect("it can be read");
    assert_eq!(left.count(), 0, "files are left behind");
}

fn children(id: &str) -> String {
    let path = format!("/proc/{id}/task/{id}/children");
    let mut all = std::fs::read_to_string(path).unwrap_or_default();
    if let Ok(tasks) = std::fs::read_dir(format!("/proc/{id}/task")) {
        for task in tasks.flatten() {
            all += &std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        }
    }
    all.split_whitespace().next().unwrap_or_default().to_owned()
}

/// A killed process whose parent has ended may stay a zombie until someone reaps it.
fn is_alive(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}
