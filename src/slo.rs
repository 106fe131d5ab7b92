//! Service level objectives: what MUTT promises, and whether it keeps it.
//!
//! `slo::objective` is the promises as data, `slo::query` turns them into PromQL, `slo::ask`
//! asks, `slo::answer` reads what it says, `slo::judge` decides, `slo::known` remembers, `slo::view`
//! shows, `slo::rules` writes down for Prometheus. It knows nothing of the drain: that replays are to
//! wait can be read off a `watch` channel.

pub mod answer;
pub mod ask;
pub mod built_in;
pub mod evidence;
pub mod judge;
pub mod knobs;
pub mod known;
pub mod objective;
pub mod openslo;

pub mod query;
pub mod rules;
pub mod view;
pub mod window;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::metrics::SloMetrics;
use crate::settings::Settings;
use ask::{Failure, Prometheus, PrometheusConfig};
use judge::{Judgement, State, judge};
use knobs::Knobs;
use known::{Answer, Entry, Known, Reach};
use objective::{FORWARDER, Objective};

/// From one look at how old the answers are to the next.
const AGE: Duration = Duration::from_secs(2);
/// From one look at the charts' points to the next.
const CHARTS: Duration = Duration::from_secs(300);

/// What is known of the objectives, as it changes.
pub type Slos = watch::Receiver<Arc<Known>>;

/// How to watch the objectives.
#[derive(Clone, Debug)]
pub struct SloConfig {
    /// Whom to ask; nobody without it, and then nothing is known.
    pub prometheus: Option<PrometheusConfig>,
    /// From one round to the next.
    pub interval: Duration,
    /// An answer that is older than this says nothing any more.
    pub unknown_after: Duration,
}

impl SloConfig {
    /// What is known before anybody was asked.
    #[must_use]
    pub fn nothing(&self, knobs: &Knobs) -> Known {
        let reach = match self.prometheus {
            Some(_) => Reach::NotAsked,
            None => Reach::Off,
        };
        let mut known = Known::nothing(reach, self.interval, self.unknown_after);
        known.follow(knobs.objectives());
        known
    }
}

/// Watches until cancelled: asks for every objective, publishes each answer as it comes, and tells the
/// log what has changed.
pub async fn run(
    config: SloConfig,
    mut settings: watch::Receiver<Settings>,
    known: watch::Sender<Arc<Known>>,
    metrics: SloMetrics,
    cancel: CancellationToken,
) {
    let mut now = (**known.borrow()).clone();
    let show = |now: &Known| {
        metrics.show(now);
        known.send_replace(Arc::new(now.clone()));
    };
    let Some(prometheus) = config.prometheus.clone() else {
        return cancel.cancelled().await;
    };
    let mut prometheus = Prometheus::new(prometheus);
    let mut told = Told::default();
    while !cancel.is_cancelled() {
        let knobs = settings.borrow_and_update().slo.clone();
        let next = Instant::now() + config.interval;
        // What is set counts at once, for what was counted before.
        now.follow(knobs.objectives());
        show(&now);
        let turn = async {
            round(&mut prometheus, &mut now, &show).await;
            told.tell(&now);
            // Nobody waits for the charts.
            let _ = timeout_at(next, charts(&mut prometheus, &mut now)).await;
            show(&now);
            sleep_until(next).await;
        };
        let mut turn = pin!(turn);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = &mut turn => break,
                () = differs(&mut settings, &knobs) => break,
                // What is known grows older, whoever is waited for.
                () = sleep(AGE) => metrics.show(&known.borrow()),
            }
        }
    }
}

/// Waits until something else is set.
async fn differs(settings: &mut watch::Receiver<Settings>, knobs: &Knobs) {
    loop {
        if settings.changed().await.is_err() {
            return std::future::pending().await;
        }
        if settings.borrow().slo != *knobs {
            return;
        }
    }
}

/// What is known after one round; with the points for the charts if they are wanted.
pub async fn once(config: &SloConfig, knobs: &Knobs, charted: bool) -> Known {
    let mut known = config.nothing(knobs);
    if let Some(prometheus) = config.prometheus.clone() {
        let mut prometheus = Prometheus::new(prometheus);
        round(&mut prometheus, &mut known, &|_| {}).await;
        if charted {
            charts(&mut prometheus, &mut known).await;
        }
    }
    known
}

/// Asks for every objective, first for that which the drain looks at. What takes too long is one
/// objective's fault; if a second one does, or nothing is there, Prometheus is away, and nobody else is
/// asked for.
async fn round(prometheus: &mut Prometheus, known: &mut Known, show: &impl Fn(&Known)) {
    let mut order: Vec<usize> = (0..known.entries.len()).collect();
    let is_first = |entry: &Entry| entry.objective.name == FORWARDER;
    order.sort_by_key(|index| !is_first(&known.entries[*index]));
    let mut late = false;
    let mut away = None;
    for index in order {
        if let Some(why) = &away {
            known.entries[index].failed = Some(format!("Prometheus is away: {why}"));
            continue;
        }
        // Where each answer takes long, the first one would be too old before its turn comes again.
        if let Some(first) = known.entries.iter().position(is_first)
            && first != index
            && known.is_due(&known.entries[first])
            && one(prometheus, &mut known.entries[first]).await.is_ok()
        {
            show(known);
        }
        match one(prometheus, &mut known.entries[index]).await {
            Ok(()) => {
                late = false;
                if known.prometheus == Reach::NotAsked {
                    known.prometheus = Reach::Up;
                }
                show(known);
            }
            Err(Failure::Slow(why)) if !late => {
                late = true;
                known.entries[index].failed = Some(why);
            }
            Err(failure) => {
                known.entries[index].failed = Some(format!("Prometheus is away: {failure}"));
                away = Some(failure.to_string());
            }
        }
    }
    known.prometheus = match (away, &known.prometheus) {
        (None, _) => Reach::Up,
        (Some(why), Reach::Away { since, .. }) => Reach::Away { why, since: *since },
        (Some(why), _) => Reach::Away {
            why,
            since: jiff::Timestamp::now().as_second(),
        },
    };
    show(known);
}

/// Asks for one. What Prometheus refuses is an answer, too.
async fn one(prometheus: &mut Prometheus, entry: &mut Entry) -> Result<(), Failure> {
    let objective = &entry.objective;
    let query = query::evidence(objective, &objective.windows());
    let series = match prometheus.instant(&query).await {
        Ok(series) => Ok(series),
        Err(Failure::Refused(why)) => Err(why),
        Err(failure) => return Err(failure),
    };
    let evidence = series.and_then(|series| answer::evidence(objective, &series));
    let judgement = match &evidence {
        Ok(evidence) => judge(objective, evidence),
        Err(why) => Judgement::unknown(why.clone()),
    };
    entry.last = Some(Answer {
        at: Instant::now(),
        judgement,
        evidence: evidence.ok(),
    });
    entry.failed = None;
    Ok(())
}

/// Asks for the points of the charts that are due; what fails is tried again when they are due again.
async fn charts(prometheus: &mut Prometheus, known: &mut Known) {
    if known.prometheus != Reach::Up {
        return;
    }
    for entry in &mut known.entries {
        if entry.charted.is_some_and(|at| at.elapsed() < CHARTS) {
            continue;
        }
        let objective = &entry.objective;
        let (step, moment) = (objective.step(), jiff::Timestamp::now().as_second());
        let query = query::evidence(objective, &[step]);
        // Steps that lie where they lay the last time show the same events again.
        let length = step.as_secs().cast_signed();
        let end = moment - moment.rem_euclid(length);
        let start = end - objective.period.as_secs().cast_signed() + length;
        let asked = prometheus.range(&query, (start, end), step.duration());
        let (why, go_on) = match asked.await {
            Ok(series) => match answer::steps(objective, step, &series) {
                Ok(steps) => {
                    entry.steps = steps.into();
                    entry.charted = Some(Instant::now());
                    continue;
                }
                Err(why) => (why, true),
            },
            Err(failure) => (failure.to_string(), matches!(failure, Failure::Refused(_))),
        };
        tracing::debug!(slo = objective.name, why, "no points for a chart");
        if !go_on {
            return;
        }
        entry.charted = Some(Instant::now());
    }
}

/// What the log was told, so that it is told of changes alone.
#[derive(Default)]
struct Told {
    away: bool,
    states: BTreeMap<String, State>,
}

impl Told {
    fn tell(&mut self, known: &Known) {
        match &known.prometheus {
            Reach::Away { why, .. } if !self.away => tracing::warn!(
                error = why,
                advice = "check PROMETHEUS_URL, what signs in there, and Prometheus itself",
                "prometheus is away, what is known of the objectives grows old"
            ),
            Reach::Up if self.away => tracing::warn!("prometheus answers again"),
            _ => {}
        }
        self.away = matches!(known.prometheus, Reach::Away { .. });
        for entry in &known.entries {
            let judgement = known.now(entry).judgement;
            self.tell_of(&entry.objective, judgement);
        }
    }

    fn tell_of(&mut self, objective: &Objective, judgement: Judgement) {
        let state = judgement.state;
        let was = self.states.insert(objective.name.clone(), state);
        // That all is well from the start is no news, and that nothing is known while Prometheus is away
        // has been said.
        let first = was.is_none() && (state == State::Ok || self.away);
        if was == Some(state) || first {
            return;
        }
        let (slo, component) = (&objective.name, &objective.component);
        let was = was.map_or("not known yet", State::as_str);
        let why = judgement.message;
        match state {
            State::Ok | State::Unknown => {
                tracing::info!(slo, component, %state, was, why, "objective");
            }
            State::Warn | State::Critical => {
                tracing::warn!(slo, component, %state, was, why, "objective");
            }
        }
    }
}
