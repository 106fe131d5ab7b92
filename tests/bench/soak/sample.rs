//! What a worker uses, looked at once a second.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Clock;
use super::worker::Seen;
use crate::support::daemon::client;

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the beginning.
    pub seconds: f64,
    /// Nobody is connected, and Redis is up.
    pub calm: bool,
    /// Resident memory in KiB, the shared part of it by its share, and what is the process's alone.
    pub resident: f64,
    pub proportional: f64,
    pub anonymous: f64,
    pub descriptors: f64,
    /// Those among them that are connections to Redis. Each has a task as well.
    pub redis: f64,
    pub threads: f64,
    /// As the worker itself tells them.
    pub tasks: f64,
    /// Passes that have ended, and that did not find remediation switched off.
    pub passes: f64,
    pub probes: f64,
}

/// Looks until the clock is over.
pub async fn watch(worker: Seen, clock: Clock, samples: Arc<Mutex<Vec<Sample>>>) {
    let client = client();
    let url = format!("http://127.0.0.1:{}/metrics", worker.ports.metrics);
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !clock.over() {
        ticks.tick().await;
        let calm = clock.calm();
        let answer = client.get(&url).send().await.expect("it is scraped");
        let metrics = answer.text().await.expect("a text");
        let sample = look(worker, &metrics, (clock.seconds(), calm));
        samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sample);
    }
}

/// Writes them down for whoever wants to look closer.
pub fn write(worker: &str, samples: &[Sample]) {
    let mut text = String::from(
        "seconds,calm,resident,proportional,anonymous,descriptors,redis,threads,tasks,passes,probes\n",
    );
    for sample in samples {
        let figures = [
            sample.seconds,
            f64::from(u8::from(sample.calm)),
            sample.resident,
            sample.proportional,
            sample.anonymous,
            sample.descriptors,
            sample.redis,
            sample.threads,
            sample.tasks,
            sample.passes,
            sample.probes,
        ];
        let figures = figures.map(|figure| format!("{figure:.1}"));
        text += &(figures.join(",") + "\n");
    }
    fs::create_dir_all("target/soak").expect("writable");
    fs::write(format!("target/soak/{worker}.csv"), text).expect("writable");
}

fn look(worker: Seen, metrics: &str, (seconds, calm): (f64, bool)) -> Sample {
    let process = worker.id;
    let file = |name: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/{name}"));
        text.expect("it runs")
    };
    let memory = file("smaps_rollup");
    let of = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.expect(name).trim().trim_end_matches(" kB");
        number.parse().expect("a number")
    };
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    let descriptors: Vec<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|what| what.to_string_lossy().into_owned())
        .collect();
    let sum = |name: &str, right: fn(&str) -> bool| {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        let values = lines.filter(|line| right(line)).map(|line| {
            let (_, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number")
        });
        values.sum()
    };
    Sample {
        seconds,
        calm,
        resident: of(&memory, "Rss:"),
        proportional: of(&memory, "Pss:"),
        anonymous: of(&memory, "Anonymous:"),
        descriptors: count(descriptors.len()),
        redis: count(to_port(worker.redis, &descriptors, &file("net/tcp"))),
        threads: of(&file("status"), "Threads:"),
        tasks: sum("mutt_remediation_tasks{", |_| true),
        passes: sum("mutt_remediation_passes_total{", |line| {
            !line.contains("outcome=\"disabled\"")
        }),
        probes: sum("mutt_remediation_moog_probes_total{", |_| true),
    }
}

/// How many of these descriptors are connections to this port, as the table of all sockets knows
/// them.
fn to_port(port: u16, descriptors: &[String], table: &str) -> usize {
    let there = format!(":{port:04X}");
    let sockets = table.lines().skip(1).filter(|line| {
        let mut fields = line.split_whitespace();
        let to = fields.nth(2).is_some_and(|remote| remote.ends_with(&there));
        let socket = fields.nth(6).map(|inode| format!("socket:[{inode}]"));
        to && socket.is_some_and(|socket| descriptors.contains(&socket))
    });
    sockets.count()
}

fn count(things: usize) -> f64 {
    f64::from(u32::try_from(things).expect("few"))
}
