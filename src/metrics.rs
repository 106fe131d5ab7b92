//! Every metric: name, help text, labels and buckets, in one registry that is handed around.
//!
//! Label sets are closed and start at zero, so that a rate is right from the first scrape on. No
//! label is ever taken from a message.

mod api;
mod guard;
mod notify;
mod rate;
mod retain;
mod slo;
pub mod tasks;
mod trace;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::dlq::Disposition;
use crate::drain::gate::{Gate as GateState, Shut};
use crate::drain::pace::Waiting;
use crate::drain::report::{Ended, Report};
use crate::health::Verdict;
use crate::link;

pub use api::ApiMetrics;
pub use guard::GuardMetrics;
pub use notify::{NoteResult, NotifyMetrics};
use rate::ReplayRate;
pub use retain::RetainMetrics;
pub use slo::SloMetrics;
pub use tasks::TaskMetrics;
pub use trace::{SpanMetrics, SpanResult};

/// The label of a commit that found another tail than was peeked.
pub const CONFLICT: &str = "conflict";

/// All metrics of one app.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// The loop that drains.
    pub drain: DrainMetrics,
    /// The gate before Moogsoft.
    pub health: HealthMetrics,
    /// Redis, as seen every few seconds.
    pub survey: SurveyMetrics,
    /// Settings taken from Redis.
    pub settings: SettingsMetrics,
    /// The backpressure guard.
    pub guard: GuardMetrics,
    /// The operator's API.
    pub api: ApiMetrics,
    /// The dead lists' bounds.
    pub retain: RetainMetrics,
    /// The notifications.
    pub notify: NotifyMetrics,
    /// The service level objectives.
    pub slo: SloMetrics,
    /// The traces.
    pub spans: SpanMetrics,
    /// The program's own tasks.
    pub tasks: TaskMetrics,
    /// When they were asked for last, in Unix seconds; 0 = never.
    scraped: Arc<AtomicI64>,
}

/// What a source has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages sent back to work.
    pub replayed: u64,
    /// Messages parked.
    pub parked: u64,
    /// Replays that came back.
    pub bounced: u64,
}

/// Metrics of the drain loops. Those that MUTT has always had are of all sources together.
#[derive(Clone, Debug)]
pub struct DrainMetrics {
    loops: IntCounter,
    passes: IntCounterVec,
    woken: IntCounterVec,
    stall: Histogram,
    duration: Histogram,
    commit: Histogram,
    replayed: IntCounter,
    failed: IntCounterVec,
    poison: IntCounter,
    messages: IntCounterVec,
    rate: ReplayRate,
    wait_short: IntCounter,
    oldest: OldestAge,
    estimate: GaugeVec,
    gate: IntGaugeVec,
    shut: IntGaugeVec,
    batch_size: IntGaugeVec,
    waiting: IntGaugeVec,
    bounced: IntCounterVec,
    bounce_ratio: GaugeVec,
    next_trial: GaugeVec,
}

/// Metrics of one source's drain loop.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    all: DrainMetrics,
    source: String,
}

/// Metrics of the gate.
#[derive(Clone, Debug)]
pub struct HealthMetrics {
    healthy: IntGauge,
    last_ok: Gauge,
    probes: IntCounterVec,
}

/// Metrics of the survey.
#[derive(Clone, Debug)]
pub struct SurveyMetrics {
    up: IntGauge,
    dlq_depth: IntGaugeVec,
    queue_depth: IntGaugeVec,
}

/// Metrics of the dynamic settings.
#[derive(Clone, Debug)]
pub struct SettingsMetrics {
    enabled: IntGauge,
    refused: IntCounterVec,
}

impl Metrics {
    /// A fresh registry with every metric at its start value.
    ///
    /// # Errors
    /// When a name is registered twice, which is a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let new = Registrar(&registry);
        let metrics = Self {
            drain: DrainMetrics::new(&new)?,
            health: HealthMetrics::new(&new)?,
            survey: SurveyMetrics::new(&new)?,
            settings: SettingsMetrics::new(&new)?,
            guard: GuardMetrics::new(&new)?,
            api: ApiMetrics::new(&new)?,
            retain: RetainMetrics::new(&new)?,
            notify: NotifyMetrics::new(&new)?,
            slo: SloMetrics::new(&new)?,
            spans: SpanMetrics::new(&new)?,
            tasks: TaskMetrics::new(&new)?,
            scraped: Arc::default(),
            registry: registry.clone(),
        };
        let build = new.int_gauges(
            "mutt_remediation_build_info",
            "Always 1; the label tells what runs",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(metrics)
    }

    /// Somebody has asked for them now.
    pub fn were_scraped(&self) {
        let now = jiff::Timestamp::now().as_second();
        self.scraped.store(now, Ordering::Relaxed);
    }

    /// When they were asked for last, in Unix seconds.
    #[must_use]
    pub fn scraped_at(&self) -> Option<i64> {
        Some(self.scraped.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// All metrics in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl DrainMetrics {
    fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            loops: new.counter("mutt_remediation_loops_total", "Passes of the remediation loop begun")?,
            woken: new.counters(
                "mutt_remediation_woken_total",
                "Passes that an arrival began before their time",
                &["source"],
            )?,
            passes: new.counters(
                "mutt_remediation_passes_total",
                "Passes ended, by source and outcome",
                &["source", "outcome"],
            )?,
            duration: new.histogram(
                "mutt_remediation_loop_duration_seconds",
                "Time that a pass took, in seconds",
                &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0],
            )?,
            commit: new.histogram(
                "mutt_remediation_commit_duration_seconds",
                "Time that the commit of a batch took, in seconds, the network included",
                &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0],
            )?,
            stall: new.histogram(
                "mutt_remediation_stall_seconds",
                "Time for which a batch kept Redis from other clients, in seconds, by the clock of Redis",
                &[0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0],
            )?,
            replayed: new.counter(
                "mutt_remediation_replay_success_total",
                "Dead letters sent back to work",
            )?,
            failed: new.counters(
                "mutt_remediation_replay_fail_total",
                "Peeks and commits that failed, by reason; their messages stayed where they were or the next peek shows where they are",
                &["reason"],
            )?,
            poison: new.counter(
                "mutt_remediation_poison_messages_total",
                "Messages moved to the dead list, for any reason",
            )?,
            messages: new.counters(
                "mutt_remediation_messages_total",
                "Messages moved, by source, disposition and reason (empty for a replay)",
                &["source", "disposition", "reason"],
            )?,
            rate: new.add(ReplayRate::new()?)?,
            wait_short: new.counter(
                "mutt_remediation_wait_short_total",
                "Batches moved that fewer replicas than REDIS_WAIT_REPLICAS were known to have in time",
            )?,
            oldest: new.add(OldestAge::new()?)?,
            estimate: new.gauges(
                "mutt_remediation_drain_estimate_seconds",
                "Time to drain a source at the present settings, in seconds; NaN where nothing is drained",
                &["source"],
            )?,
            gate: new.int_gauges(
                "mutt_remediation_gate",
                "State of a source's gate: 1 for the one it is in, 0 for the others",
                &["source", "state"],
            )?,
            shut: new.int_gauges(
                "mutt_remediation_gate_shut",
                "What keeps a source's gate shut: 1 for the reason, 0 for the others",
                &["source", "reason"],
            )?,
            batch_size: new.int_gauges(
                "mutt_remediation_batch_size",
                "Messages in the next batch of a source, at most; 0 while its gate is shut",
                &["source"],
            )?,
            waiting: new.int_gauges(
                "mutt_remediation_waiting",
                "What a source's next batch waits for: 1 for that, 0 for the others",
                &["source", "for"],
            )?,
            bounced: new.counters(
                "mutt_remediation_bounced_total",
                "Replays that were seen to come back, in either pace",
                &["source"],
            )?,
            bounce_ratio: new.gauges(
                "mutt_remediation_bounce_ratio",
                "Share of the last replays that came back, in either pace; NaN where none is recent",
                &["source"],
            )?,
            next_trial: new.gauges(
                "mutt_remediation_next_trial_seconds",
                "Time from the last decision to the next trial after one that failed, in seconds; 0 where none is due",
                &["source"],
            )?,
        };
        for reason in link::Reason::ALL {
            metrics.failed.with_label_values(&[reason.as_str()]);
        }
        metrics.failed.with_label_values(&[CONFLICT]);
        Ok(metrics)
    }

    /// The metrics of a source, at their start values.
    #[must_use]
    pub fn of(&self, source: &str) -> SourceMetrics {
        let metrics = SourceMetrics {
            all: self.clone(),
            source: source.to_owned(),
        };
        for outcome in Ended::OUTCOMES {
            self.passes.with_label_values(&[source, outcome]);
        }
        for disposition in Disposition::OF_DRAIN {
            metrics.message(disposition, 0);
        }
        self.woken.with_label_values(&[source]);
        metrics.bounced(0);
        self.estimate.with_label_values(&[source]).set(0.0);
        self.oldest.set(source, 0, None);
        metrics.show_gate(None);
        metrics.waiting(None);
        self.batch_size.with_label_values(&[source]).set(0);
        self.next_trial.with_label_values(&[source]).set(0.0);
        self.bounce_ratio.with_label_values(&[source]).set(f64::NAN);
        metrics
    }
}

impl SourceMetrics {
    /// A pass begins.
    pub fn pass_began(&self) {
        self.all.loops.inc();
    }

    /// An arrival begins a pass.
    pub fn woken(&self) {
        self.all.woken.with_label_values(&[&self.source]).inc();
    }

    /// A pass has ended.
    pub fn pass_ended(&self, report: &Report, took: Duration) {
        self.all.duration.observe(took.as_secs_f64());
        if let Some(outcome) = report.ended.outcome() {
            let labels = [&self.source, outcome];
            self.all.passes.with_label_values(&labels).inc();
        }
        if let Some(depth) = report.depth {
            self.all
                .oldest
                .set(&self.source, depth, report.oldest_since);
        }
    }

    /// A batch was committed.
    pub fn committed(&self, took: Duration) {
        self.all.commit.observe(took.as_secs_f64());
    }

    /// A batch kept Redis from other clients for so long.
    pub fn stalled(&self, busy: Duration) {
        self.all.stall.observe(busy.as_secs_f64());
    }

    /// Messages arrived at their destination. What an operator began is counted as the operator's.
    pub fn message(&self, disposition: Disposition, count: u64) {
        if !Disposition::OF_DRAIN.contains(&disposition) {
            return;
        }
        let labels = [&self.source, disposition.as_str(), disposition.reason()];
        self.all.messages.with_label_values(&labels).inc_by(count);
        match disposition {
            Disposition::Replay => {
                self.all.replayed.inc_by(count);
                self.all.rate.add(&self.source, count);
            }
            _ => self.all.poison.inc_by(count),
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            bounced: self.all.bounced.with_label_values(&[&self.source]).get(),
            ..Totals::default()
        };
        for disposition in Disposition::OF_DRAIN {
            let labels = [&self.source, disposition.as_str(), disposition.reason()];
            let count = self.all.messages.with_label_values(&labels).get();
            match disposition {
                Disposition::Replay => totals.replayed += count,
                _ => totals.parked += count,
            }
        }
        totals
    }

    /// Replays a second, over the last ten seconds.
    #[must_use]
    pub fn replays_per_second(&self) -> f64 {
        self.all.rate.of(&self.source)
    }

    /// A look, peek or commit failed.
    pub fn failed(&self, reason: &str) {
        self.all.failed.with_label_values(&[reason]).inc();
    }

    /// A batch was moved that too few replicas are known to have.
    pub fn wait_short(&self) {
        self.all.wait_short.inc();
    }

    /// How long the queue will take; `None` where nothing is drained.
    pub fn estimate(&self, time: Option<Duration>) {
        let estimate = self.all.estimate.with_label_values(&[&self.source]);
        estimate.set(time.map_or(f64::NAN, |time| time.as_secs_f64()));
    }

    /// Replays came back.
    pub fn bounced(&self, count: usize) {
        let bounced = self.all.bounced.with_label_values(&[&self.source]);
        bounced.inc_by(count as u64);
    }

    /// What was decided, and upon what.
    pub fn gate(
        &self,
        gate: GateState,
        batch_size: u64,
        bounce_ratio: Option<f64>,
        next_trial: Option<Duration>,
    ) {
        self.show_gate(Some(gate));
        let source = [&self.source];
        let size = i64::try_from(batch_size).unwrap_or(i64::MAX);
        self.all.batch_size.with_label_values(&source).set(size);
        let ratio = self.all.bounce_ratio.with_label_values(&source);
        ratio.set(bounce_ratio.unwrap_or(f64::NAN));
        let trial = self.all.next_trial.with_label_values(&source);
        trial.set(next_trial.unwrap_or_default().as_secs_f64());
    }

    /// What the next batch waits for, if it does.
    pub fn waiting(&self, what: Option<Waiting>) {
        for one in Waiting::ALL {
            let labels = [&self.source, one.as_str()];
            let waiting = self.all.waiting.with_label_values(&labels);
            waiting.set((what == Some(one)).into());
        }
    }

    fn show_gate(&self, gate: Option<GateState>) {
        for state in GateState::STATES {
            let is = gate.is_some_and(|gate| gate.state() == state);
            let labels = [&self.source, state];
            self.all.gate.with_label_values(&labels).set(is.into());
        }
        for why in Shut::ALL {
            let is = gate == Some(GateState::Shut(why));
            let labels = [&self.source, why.as_str()];
            self.all.shut.with_label_values(&labels).set(is.into());
        }
    }
}

impl HealthMetrics {
    fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            healthy: new.int_gauge(
                "mutt_remediation_moog_health",
                "Whether Moogsoft takes events: 1 yes (or probing is off), 0 no (or not asked yet)",
            )?,
            last_ok: new.gauge(
                "mutt_moog_health_last_ok_timestamp",
                "When a probe of Moogsoft last succeeded, in Unix seconds; 0 before the first",
            )?,
            probes: new.counters(
                "mutt_remediation_moog_probes_total",
                "Probes sent to Moogsoft, by result",
                &["result"],
            )?,
        };
        for result in ["healthy", "unhealthy"] {
            metrics.probes.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// There is no probe, which counts as healthy.
    pub fn assumed(&self) {
        self.healthy.set(1);
    }

    /// The gate was asked.
    pub fn checked(&self, verdict: &Verdict) {
        self.healthy.set(verdict.health.is_ok().into());
        if verdict.probed {
            let result = if verdict.health.is_ok() {
                "healthy"
            } else {
                "unhealthy"
            };
            self.probes.with_label_values(&[result]).inc();
        }
        if verdict.probed && verdict.health.is_ok() {
            self.last_ok
                .set(jiff::Timestamp::now().as_duration().as_secs_f64());
        }
    }
}

impl SurveyMetrics {
    fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            up: new.int_gauge(
                "mutt_remediation_redis_up",
                "Whether Redis answered the last survey: 1 yes, 0 no",
            )?,
            dlq_depth: new.int_gauges(
                "mutt_remediation_dlq_depth",
                "Messages in a dead letter list",
                &["dlq_name"],
            )?,
            queue_depth: new.int_gauges(
                "mutt_remediation_queue_depth",
                "Messages in a work queue",
                &["queue_name"],
            )?,
        };
        Ok(metrics)
    }

    /// These lists are shown, and not looked at yet.
    pub fn start_with(&self, dlqs: &[String], queues: &[String]) {
        for name in dlqs {
            self.dlq_depth(name, 0);
        }
        for name in queues {
            self.queue_depth(name, 0);
        }
    }

    /// Redis answered, or not.
    pub fn redis_up(&self, up: bool) {
        self.up.set(up.into());
    }

    /// Messages in a dead letter list.
    pub fn dlq_depth(&self, name: &str, depth: i64) {
        self.dlq_depth.with_label_values(&[name]).set(depth);
    }

    /// Messages in a dead letter list, as the last survey saw it; missing while Redis is away.
    #[must_use]
    pub fn depth_of(&self, name: &str) -> Option<i64> {
        let up = self.up.get() == 1;
        up.then(|| self.dlq_depth.with_label_values(&[name]).get())
    }

    /// Messages in a work queue.
    pub fn queue_depth(&self, name: &str, depth: i64) {
        self.queue_depth.with_label_values(&[name]).set(depth);
    }
}

impl SettingsMetrics {
    fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            enabled: new.int_gauge(
                "mutt_remediation_enabled",
                "Whether remediation is switched on: 1 yes, 0 no",
            )?,
            refused: new.counters(
                "mutt_remediation_config_refused_total",
                "Dynamic settings refused because their value was bad, by key",
                &["key"],
            )?,
        };
        Ok(metrics)
    }

    /// Makes the label of a dynamic key appear.
    pub fn key(&self, key: &str) {
        self.refused.with_label_values(&[key]);
    }

    /// A value was refused.
    pub fn refused(&self, key: &str) {
        self.refused.with_label_values(&[key]).inc();
    }

    /// Remediation was switched on or off.
    pub fn enabled(&self, enabled: bool) {
        self.enabled.set(enabled.into());
    }
}

/// The age of each source's oldest dead letter, computed when it is asked for: a gauge set once per
/// pass would stand still for a whole interval.
#[derive(Clone, Debug)]
struct OldestAge {
    gauges: GaugeVec,
    since: Arc<Mutex<BTreeMap<String, Since>>>,
}

/// Since when the oldest message has been around.
#[derive(Clone, Copy, Debug)]
enum Since {
    /// There is none.
    Nothing,
    /// It does not tell.
    Unknown,
    Second(i64),
}

impl OldestAge {
    fn new() -> prometheus::Result<Self> {
        let opts = Opts::new(
            "mutt_remediation_oldest_dead_letter_age_seconds",
            "Age of a source's oldest dead letter since its last replay, else since its timestamp, in seconds; 0 for an empty queue, NaN where it does not tell",
        );
        Ok(Self {
            gauges: GaugeVec::new(opts, &["source"])?,
            since: Arc::default(),
        })
    }

    fn set(&self, source: &str, depth: u64, since: Option<i64>) {
        let since = if depth == 0 {
            Since::Nothing
        } else {
            since.map_or(Since::Unknown, Since::Second)
        };
        let mut all = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(source.to_owned(), since);
    }
}

impl Collector for OldestAge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, since) in &*all {
            self.gauges.with_label_values(&[source]).set(match since {
                Since::Nothing => 0.0,
                Since::Unknown => f64::NAN,
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "seconds since 1970 are exact in f64"
                )]
                Since::Second(since) => (jiff::Timestamp::now().as_second() - since).max(0) as f64,
            });
        }
        self.gauges.collect()
    }
}

/// Makes metrics and registers them at once.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.add(Gauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn int_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    fn int_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts)?)
    }
}
