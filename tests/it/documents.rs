//! Every command that the documents show is run, by a reader who has copied it.
//!
//! `commands` finds them, `world` lays out what they need and runs them. What a command calls is
//! either a tool that does the same everywhere, or one of the programs in `documents/bin`, each of
//! which says how far it goes. Whatever else is called is not found, and fails by file and line.

mod checkout;
mod commands;
mod letters;
mod options;
mod runbook;
mod snippets;
mod world;
mod wrong;

use commands::Command;
use world::World;

/// The documents, in shares that take about as long; the last one has all that no other has.
const SHARES: [&[&str]; 4] = [
    &["README.md", "docker-compose.yml", "docs/CLI.md"],
    &["docs/OPERATING.md", "docs/REMEDIATION.md"],
    &["docs/troubleshooting.md"],
    &[],
];

async fn every_command_works(share: usize) {
    let rest = SHARES.concat();
    let mine = |file: &str| match SHARES[share] {
        [] => !rest.contains(&file),
        files => files.contains(&file),
    };
    let mut all: Vec<Command> = Vec::new();
    for (file, text) in commands::documents() {
        if mine(&file) {
            all.extend(commands::of(&file, &text));
        }
    }
    // Moogsoft is remembered as healthy for a minute, so that this comes last.
    all.sort_by_key(Command::goes_the_whole_way);
    let failures = failures(&all).await;
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Runs them all; what is wrong with which.
async fn failures(all: &[Command]) -> Vec<String> {
    let mut world = World::start().await;
    let mut failures = Vec::new();
    for command in all {
        if let Err(why) = world.run(command).await {
            let text = command.text.trim();
            failures.push(format!("{}: {text}\n=> {why}", command.place));
        }
    }
    failures
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_that_a_newcomer_reads() {
    every_command_works(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_of_those_who_operate() {
    every_command_works(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_at_three_in_the_morning() {
    every_command_works(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_of_all_other_documents() {
    every_command_works(3).await;
}
