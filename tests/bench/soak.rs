//! A week of passes in ten minutes: two workers as processes of their own, five sources, and all
//! that may happen to them in a week, such as restarts of Redis, changes of settings, a Moogsoft
//! that comes and goes, rotation of the log, operators and a crowd at the listeners.
//!
//! It fails when a message is lost or doubled, when too few passes were made, or when memory,
//! descriptors, threads or tasks have grown; docs/soak.md says by what measure.
//!
//! `make soak`, or `SOAK_SECONDS=120 cargo bench --bench soak`, which is the shortest; with `PLOTS=write` it draws
//! docs/soak/week.svg. The samples are in target/soak.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "it happens in real time, in a program of its own"
)]

#[expect(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the other benchmarks use the rest; percentiles; it talks to people"
)]
mod support;
#[expect(unreachable_pub, reason = "a test shares it")]
#[path = "soak/week.rs"]
mod week;

use std::process::ExitCode;
use std::time::Duration;

use support::say;
use week::judge::SHORTEST;
use week::{Outcome, What};

/// Passes of a week at the default interval of 300 s.
const WEEK: f64 = 2_016.0;
/// How long it takes if nobody says otherwise, in seconds.
const LENGTH: u64 = 600;

#[tokio::main]
async fn main() -> ExitCode {
    let length = std::env::var("SOAK_SECONDS").ok();
    let length = length.map_or(LENGTH, |text| {
        text.parse().expect("SOAK_SECONDS is a number")
    });
    if length < SHORTEST {
        say(&format!(
            "SOAK_SECONDS is at least {SHORTEST}: what is shorter cannot be judged"
        ));
        return ExitCode::FAILURE;
    }
    let outcome = week::live(Duration::from_secs(length)).await;
    for (worker, samples) in &outcome.samples {
        week::sample::write(worker, samples);
    }
    if std::env::var("PLOTS").is_ok_and(|value| value == "write") {
        week::plot::write(&outcome);
    }
    let well = tell(&outcome, length);
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says how it was, and returns whether it was well.
fn tell(outcome: &Outcome, length: u64) -> bool {
    say(&format!(
        "{length} s, two workers, five sources, a pass a second each"
    ));
    let wanted = WEEK * length as f64 / LENGTH as f64;
    let mut well = true;
    for (worker, samples) in &outcome.samples {
        let last = samples.last().expect("there are samples");
        let enough = last.passes >= wanted;
        well &= enough;
        row(
            &format!("passes of worker {worker}"),
            &format!(
                "{:.0} of {wanted:.0}; it asked Moogsoft {:.0} times",
                last.passes, last.probes
            ),
            enough,
        );
    }
    say("\nmeanwhile");
    let happened = [
        ("Redis was ended", What::RedisTerminated),
        ("Redis was killed", What::RedisKilled),
        ("Prometheus was killed", What::PrometheusKilled),
        ("Moogsoft changed its mind", What::Probe),
        ("the circuit breaker turned", What::Breaker),
        ("settings were changed", What::Setting),
        ("both logs were rotated", What::Rotation),
        ("pages, streams and probes were asked for", What::Request),
        ("connections came that made no sense", What::Connection),
        ("operators acted", What::Act),
    ];
    for (name, what) in happened {
        say(&format!("{name:<44} {}", outcome.count(what)));
    }
    let (notices, traces) = outcome.told;
    say(&format!("{:<44} {notices}", "notifications were taken"));
    say(&format!("{:<44} {traces}", "batches of spans were taken"));
    say(&format!("{:<44} {}", "Moogsoft was asked", outcome.probes));

    say("\nafter the first quarter");
    for verdict in outcome.judged() {
        well &= verdict.flat;
        let name = format!("{}: {}", verdict.worker, verdict.what);
        row(&name, &verdict.seen, verdict.flat);
    }
    let accounts = &outcome.accounts;
    let right = accounts.are_right();
    well &= right;
    say("");
    let counts = format!(
        "{} made: {} handled, {} parked, {} archived, {} waiting; lost {:?}, doubled {:?}",
        accounts.made,
        accounts.handled,
        accounts.parked,
        accounts.archived,
        accounts.waiting,
        accounts.lost,
        accounts.doubled
    );
    row("messages", &counts, right);
    say(if well { "\nall is well" } else { "\nNOT well" });
    well
}

fn row(name: &str, value: &str, well: bool) {
    let mark = if well { "ok " } else { "BAD" };
    say(&format!("{mark} {name:<30} {value}"));
}
