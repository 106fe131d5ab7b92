//! What the page of the command line names is there.

use std::collections::BTreeMap;
use std::fs;

use super::commands::spans;
use crate::support::daemon::output;

/// Commands with their help.
fn helps() -> BTreeMap<String, String> {
    let help = |words: &[&str]| {
        let said = output(words, &[]);
        assert!(said.status.success(), "{words:?}: {said:?}");
        String::from_utf8(said.stdout).expect("text")
    };
    let all = help(&["--help"]);
    let (_, commands) = all.split_once("\nCommands:\n").expect("commands");
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let with_its_own = |name: &str| {
        let inner = help(&[name, "--help"]);
        let mut text = inner.clone();
        // `config set` and the like.
        if let Some((_, below)) = inner.split_once("\nCommands:\n") {
            let below = below.lines().take_while(|line| !line.is_empty());
            for word in below.filter_map(|line| line.split_whitespace().next()) {
                if word != "help" {
                    text += &help(&[name, word, "--help"]);
                }
            }
        }
        (name.to_owned(), text)
    };
    names
        .filter(|name| *name != "help")
        .map(with_its_own)
        .collect()
}

#[test]
fn every_command_has_a_row_and_every_option_that_is_named_exists() {
    let helps = helps();
    let page = fs::read_to_string("docs/CLI.md").expect("it exists");
    let everything: String = helps.values().cloned().collect();
    let mut rows = 0;
    for span in page.lines().flat_map(spans) {
        let words: Vec<&str> = span.split_whitespace().collect();
        let help = words.first().and_then(|word| helps.get(*word));
        let options = words.iter().filter(|word| word.starts_with("--"));
        for option in options {
            let name = option.split('=').next().unwrap_or_default();
            let there = help.unwrap_or(&everything).contains(name) || span.starts_with("kubectl");
            assert!(there, "there is no {option}, of which `{span}` speaks");
        }
        rows += usize::from(help.is_some());
    }
    assert!(rows > 20, "{rows}");
    // Those that only those need who try it, or a container, are told where they are needed.
    for name in helps
        .keys()
        .filter(|name| !["demo", "healthcheck"].contains(&name.as_str()))
    {
        let row = format!("| `{name}");
        assert!(page.contains(&row), "{name} is not in the table");
    }
}
