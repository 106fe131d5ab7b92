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

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::SloMetrics;
use crate::settings::Settings;
use answer::Series;
use ask::{Failure, Prometheus, PrometheusConfig};
use judge::{Judgement, State, judge};
use knobs::Knobs;
use known::{Answer, Entry, Known, Reach};
use objective::Objective;

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
        known.gate = knobs.gate;
        known
    }
}

/// Watches until cancelled: asks for every objective, publishes what is known, and tells the log what
/// has changed.
pub async fn run(
    config: SloConfig,
    mut settings: watch::Receiver<Settings>,
    known: watch::Sender<Arc<Known>>,
    metrics: SloMetrics,
    cancel: CancellationToken,
) {
    let mut known_now = (**known.borrow()).clone();
    metrics.show(&known_now);
    let Some(prometheus) = config.prometheus.clone() else {
        return cancel.cancelled().await;
    };
    let mut asking = Asking::new(prometheus);
    while !cancel.is_cancelled() {
        let knobs = settings.borrow_and_update().slo.clone();
        let begun = Instant::now();
        let before = known_now.clone();
        known_now.gate = knobs.gate;
        known_now.follow(knobs.objectives());
        tokio::select! {
            () = cancel.cancelled() => return,
            () = asking.round(&mut known_now) => {}
        }
        tell(&before, &known_now);
        metrics.show(&known_now);
        known.send_replace(Arc::new(known_now.clone()));

        let next = begun + config.interval;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(next) => break,
                Ok(()) = settings.changed() => {
                    if settings.borrow_and_update().slo != knobs {
                        break;
                    }
                }
            }
        }
    }
}

/// One round alone, for a command.
pub async fn once(config: &SloConfig, knobs: &Knobs) -> Known {
    let mut known = config.nothing(knobs);
    if let Some(prometheus) = config.prometheus.clone() {
        Asking::new(prometheus).round(&mut known).await;
    }
    known
}

struct Asking {
    prometheus: Prometheus,
    /// When the charts were looked at last.
    charted: Option<Instant>,
}

impl Asking {
    fn new(config: PrometheusConfig) -> Self {
        Self {
            prometheus: Prometheus::new(config),
            charted: None,
        }
    }

    /// Asks for every objective; if Prometheus is away, no further than the first.
    async fn round(&mut self, known: &mut Known) {
        let chart = self.charted.is_none_or(|at| at.elapsed() >= CHARTS);
        let mut away = None;
        for entry in &mut known.entries {
            if away.is_none() {
                away = self.one(entry, chart).await.err();
            }
            if let Some(why) = &away {
                entry.failed = Some(format!("Prometheus is away: {why}"));
            }
        }
        known.prometheus = match (away, &known.prometheus) {
            (None, _) => {
                if chart {
                    self.charted = Some(Instant::now());
                }
                Reach::Up
            }
            (Some(why), Reach::Away { since, .. }) => Reach::Away { why, since: *since },
            (Some(why), _) => Reach::Away {
                why,
                since: jiff::Timestamp::now().as_second(),
            },
        };
    }

    /// Asks for one; the error is that Prometheus is away.
    async fn one(&mut self, entry: &mut Entry, chart: bool) -> Result<(), String> {
        let objective = &entry.objective;
        let query = query::evidence(objective, &objective.windows());
        let series = match self.prometheus.instant(&query).await {
            Ok(series) => Ok(series),
            Err(Failure::Refused(why)) => Err(why),
            Err(Failure::Away(why)) => return Err(why),
        };
        let moment = series.as_deref().ok().and_then(answer::moment);
        let judgement = series
            .and_then(|series| answer::evidence(objective, &series))
            .map_or_else(Judgement::unknown, |evidence| judge(objective, &evidence));
        entry.last = Some(Answer {
            at: Instant::now(),
            judgement,
        });
        entry.failed = None;
        if let Some(moment) = moment
            && (chart || entry.steps.is_empty())
        {
            let series = self.chart(&entry.objective, moment).await;
            let step = entry.objective.step();
            match series.map(|series| answer::steps(&entry.objective, step, &series)) {
                Ok(Ok(steps)) => entry.steps = steps.into(),
                Ok(Err(why)) | Err(why) => {
                    tracing::debug!(slo = entry.objective.name, why, "no points for a chart");
                }
            }
        }
        Ok(())
    }

    /// The steps of the period that ends at that moment.
    async fn chart(&mut self, objective: &Objective, moment: i64) -> Result<Vec<Series>, String> {
        let step = objective.step();
        let query = query::evidence(objective, &[step]);
        // Steps that lie where they lay the last time show the same events again.
        let length = step.as_secs().cast_signed();
        let end = moment - moment.rem_euclid(length);
        let start = end - objective.period.as_secs().cast_signed() + length;
        let answer = self.prometheus.range(&query, (start, end), step.duration());
        answer.await.map_err(|failure| failure.to_string())
    }
}

/// Tells what has changed since the last round, and nothing else.
fn tell(before: &Known, now: &Known) {
    match (&before.prometheus, &now.prometheus) {
        (Reach::Away { .. }, Reach::Up) => {
            tracing::warn!("prometheus answers again");
        }
        (Reach::Up | Reach::NotAsked, Reach::Away { why, .. }) => tracing::warn!(
            error = why,
            advice = "check PROMETHEUS_URL, what signs in there, and Prometheus itself",
            "prometheus is away, what is known of the objectives grows old"
        ),
        _ => {}
    }
    for entry in &now.entries {
        let objective = &entry.objective;
        let was = before
            .entries
            .iter()
            .find(|one| one.objective.name == objective.name);
        let was = was
            .filter(|one| one.last.is_some())
            .map(|one| before.now(one));
        let judgement = now.now(entry).judgement;
        let state = judgement.state;
        let was = was.map(|was| was.judgement.state);
        // That all is well from the start is no news.
        let first = was.is_none() && (entry.last.is_none() || state == State::Ok);
        if was == Some(state) || first {
            continue;
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
