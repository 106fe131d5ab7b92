//! A few seconds of what `make soak` does for ten minutes, judged on its accounts and its tasks, and
//! the judge of the ten minutes, on samples that were made up.

#[expect(dead_code, reason = "the benchmark draws what was used")]
#[path = "../bench/soak/week.rs"]
mod week;

use week::{ROUND, Sample, What, judge};

/// What a worker has while it is calm, besides connections to Redis: 24 in whole weeks, and a few
/// that are about to go.
const TASKS: f64 = 30.0;

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_short_week_is_in_one_place_and_who_came_has_gone() {
    let outcome = week::live(ROUND).await;
    let accounts = &outcome.accounts;
    assert!(accounts.are_right(), "{accounts:?}");
    assert_eq!(outcome.count(What::RedisTerminated), 1);
    assert!(outcome.count(What::Setting) > 5);
    for (worker, samples) in &outcome.samples {
        let last = samples.last().expect("it was looked at");
        assert!(last.passes > 5.0, "{worker}: {last:?}");
        // The calm part comes after the crowd.
        let calm = samples.iter().filter(|sample| sample.calm);
        let left = calm
            .map(|sample| sample.tasks - sample.redis)
            .fold(f64::INFINITY, f64::min);
        assert!(left <= TASKS, "{worker}: {left} tasks are left");
    }
}

/// So long with a worker that uses the same in each round.
fn week_of_samples(seconds: u32) -> Vec<Sample> {
    let sample = |second| {
        let calm = second % 15 >= 11;
        let crowd = if calm { 0.0 } else { f64::from(second % 11) };
        Sample {
            seconds: f64::from(second),
            calm,
            resident: 24_000.0 + 100.0 * crowd,
            proportional: 18_000.0 + 100.0 * crowd,
            anonymous: 12_000.0 + 100.0 * crowd,
            descriptors: 59.0 + crowd,
            redis: 29.0,
            threads: 6.0,
            tasks: 53.0 + crowd,
            passes: f64::from(4 * second),
            probes: 44.0,
        }
    };
    (0..seconds).map(sample).collect()
}

fn minutes(sample: &Sample) -> f64 {
    (sample.seconds / 60.0).floor()
}

/// What the judge does not call flat, where each sample was changed so.
fn grown(seconds: u32, change: fn(&mut Sample)) -> Vec<&'static str> {
    let mut samples = week_of_samples(seconds);
    samples.iter_mut().for_each(change);
    let verdicts = judge::of("made up", &samples);
    let grown = verdicts.iter().filter(|verdict| !verdict.flat);
    grown.map(|verdict| verdict.what).collect()
}

#[test]
fn a_flat_week_is_called_flat() {
    assert_eq!(grown(600, |_| ()), [""; 0]);
    assert_eq!(grown(120, |_| ()), [""; 0]);
    // What comes within the warm-up has not grown later.
    let fills = |sample: &mut Sample| sample.descriptors += minutes(sample).min(2.0);
    assert_eq!(grown(600, fills), [""; 0]);
}

#[test]
fn what_leaks_is_called_so() {
    let descriptors = |sample: &mut Sample| sample.descriptors += minutes(sample);
    assert_eq!(grown(600, descriptors), ["descriptors, others"]);
    let tasks = |sample: &mut Sample| sample.tasks += minutes(sample);
    assert_eq!(grown(600, tasks), ["tasks, others"]);
    let memory = |sample: &mut Sample| sample.resident += 5.0 * sample.seconds;
    assert_eq!(grown(600, memory), ["resident memory"]);
    let connections = |sample: &mut Sample| {
        let more = minutes(sample);
        sample.redis += more;
        sample.descriptors += more;
        sample.tasks += more;
    };
    assert_eq!(grown(600, connections), ["connections to Redis"]);
    // At the very end, in which no whole stretch of 30 s begins.
    let late = |sample: &mut Sample| {
        if sample.seconds >= 105.0 {
            sample.threads += 1.0;
        }
    };
    assert_eq!(grown(140, late), ["threads"]);
}

#[test]
fn what_cannot_be_told_is_not_called_flat() {
    let floors = ["descriptors, others", "tasks, others", "threads"];
    assert_eq!(grown(60, |_| ()), floors);
    let never_calm_at_first = |sample: &mut Sample| sample.calm &= sample.seconds > 250.0;
    assert_eq!(grown(600, never_calm_at_first), floors);
}
