//! Whether what a worker uses is flat; pure.
//!
//! Memory has a trend, which is the median of the slopes between any two moments (Theil and Sen):
//! a few peaks do not change it. Of descriptors, threads and tasks the floor counts, which is the
//! least of a stretch of time while nobody is connected and Redis is up: whatever has leaked is in
//! it. Connections to Redis are left out of it, because how many of them are needed changes, and
//! have a bound of their own.

use super::{ROUND, Sample};

/// The beginning that is not judged: caches, pools and heaps fill.
pub const WARM_UP: f64 = 0.25;
/// What the memory may grow by, from the end of the warm-up to the end, as a share and in KiB; the
/// larger of the two.
const GROWTH: (f64, f64) = (0.05, 1024.0);
/// Stretches of time that have a floor each, at most; none is shorter than two rounds, so that each
/// has a calm part.
const STRETCHES: usize = 6;
/// Below that there are no two stretches, which could be compared.
pub const SHORTEST: u64 = 120;

/// Connections to Redis while nobody is connected: with five sources, dynamic settings and the guard
/// the loops hold 20, the operator's side keeps eight to spare, and the audit has one.
const CONNECTIONS: f64 = 20.0 + 8.0 + 1.0;

/// What came out for one figure of one worker.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub worker: &'static str,
    pub what: &'static str,
    /// What was seen, for people.
    pub seen: String,
    pub flat: bool,
}

pub fn of(worker: &'static str, samples: &[Sample]) -> Vec<Verdict> {
    let end = samples.last().map_or(0.0, |sample| sample.seconds);
    let judged: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.seconds >= end * WARM_UP)
        .collect();
    let memory = |what, of: fn(&Sample) -> f64| {
        let points = judged.iter().map(|sample| (sample.seconds, of(sample)));
        let points: Vec<(f64, f64)> = points.collect();
        let span = points[points.len() - 1].0 - points[0].0;
        let usual = median(points.iter().map(|point| point.1).collect());
        let growth = slope(&points) * span;
        Verdict {
            worker,
            what,
            seen: format!(
                "{:.1} MiB, {:+.2} MiB over {span:.0} s by its trend",
                usual / 1024.0,
                growth / 1024.0
            ),
            flat: growth <= (usual * GROWTH.0).max(GROWTH.1),
        }
    };
    let floor = |what, of: fn(&Sample) -> f64| {
        let shortest = judged.partition_point(|sample| {
            sample.seconds < judged[0].seconds + 2.0 * ROUND.as_secs_f64()
        });
        // All samples are in one of them, the last ones too.
        let stretches = (judged.len() / shortest).clamp(1, STRETCHES);
        let begin = |number: usize| judged.len() * number / stretches;
        let floors: Vec<f64> = (0..stretches)
            .map(|number| {
                let stretch = &judged[begin(number)..begin(number + 1)];
                let calm = stretch.iter().filter(|sample| sample.calm);
                calm.map(|sample| of(sample)).fold(f64::INFINITY, f64::min)
            })
            .collect();
        // One that nobody has seen calm has no floor, and says nothing.
        let known = floors.len() > 1 && floors.iter().all(|floor| floor.is_finite());
        let most = judged.iter().map(|sample| of(sample)).fold(0.0, f64::max);
        let shown: Vec<String> = floors.iter().map(|floor| format!("{floor:.0}")).collect();
        Verdict {
            worker,
            what,
            seen: format!("floors {}, at most {most:.0}", shown.join(" ")),
            flat: known && floors.iter().all(|floor| *floor <= floors[0]),
        }
    };
    let calm = judged.iter().filter(|sample| sample.calm);
    let redis = calm.map(|sample| sample.redis).fold(0.0, f64::max);
    let bound = Verdict {
        worker,
        what: "connections to Redis",
        seen: format!("at most {redis:.0} of {CONNECTIONS:.0} while it is calm"),
        flat: redis <= CONNECTIONS,
    };
    vec![
        memory("resident memory", |sample| sample.resident),
        memory("proportional memory", |sample| sample.proportional),
        memory("anonymous memory", |sample| sample.anonymous),
        floor("descriptors, others", |sample| {
            sample.descriptors - sample.redis
        }),
        floor("tasks, others", |sample| sample.tasks - sample.redis),
        floor("threads", |sample| sample.threads),
        bound,
    ]
}

/// The median of the slopes between any two points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mut slopes = vec![];
    for (index, one) in points.iter().enumerate() {
        for other in &points[index + 1..] {
            slopes.push((other.1 - one.1) / (other.0 - one.0));
        }
    }
    median(slopes)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
