//! Every metric: name, help text, labels and buckets, in one registry that is handed around.
//!
//! Label sets are closed and start at zero, so that a rate is right from the first scrape on. No
//! label is ever taken from a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::dlq::Disposition;
use crate::drain::report::{Ended, Report};
use crate::health::Verdict;
use crate::link;

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
}

/// Metrics of the drain loop.
#[derive(Clone, Debug)]
pub struct DrainMetrics {
    loops: IntCounter,
    passes: IntCounterVec,
    duration: Histogram,
    commit: Histogram,
    replayed: IntCounter,
    failed: IntCounterVec,
    poison: IntCounter,
    messages: IntCounterVec,
    wait_short: IntCounter,
    oldest: OldestAge,
    estimate: Gauge,
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
            passes: new.counters(
                "mutt_remediation_passes_total",
                "Passes ended, by outcome",
                &["outcome"],
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
                "Messages moved, by disposition and reason (empty for a replay)",
                &["disposition", "reason"],
            )?,
            wait_short: new.counter(
                "mutt_remediation_wait_short_total",
                "Batches moved that fewer replicas than REDIS_WAIT_REPLICAS were known to have in time",
            )?,
            oldest: new.add(OldestAge::new()?)?,
            estimate: new.gauge(
                "mutt_remediation_drain_estimate_seconds",
                "Time to drain the queue at the present settings, in seconds; NaN where nothing is drained",
            )?,
        };
        for outcome in Ended::OUTCOMES {
            metrics.passes.with_label_values(&[outcome]);
        }
        for reason in link::Reason::ALL {
            metrics.failed.with_label_values(&[reason.as_str()]);
        }
        metrics.failed.with_label_values(&[CONFLICT]);
        for disposition in Disposition::ALL {
            metrics.message(disposition, 0);
        }
        Ok(metrics)
    }

    /// A pass begins.
    pub fn pass_began(&self) {
        self.loops.inc();
    }

    /// A pass has ended.
    pub fn pass_ended(&self, report: &Report, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        if let Some(outcome) = report.ended.outcome() {
            self.passes.with_label_values(&[outcome]).inc();
        }
        if let Some(depth) = report.depth {
            self.oldest.set(depth, report.oldest_since);
        }
    }

    /// A batch was committed.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// Messages arrived at their destination.
    pub fn message(&self, disposition: Disposition, count: u64) {
        let labels = [disposition.as_str(), disposition.reason()];
        self.messages.with_label_values(&labels).inc_by(count);
        match disposition {
            Disposition::Replay => self.replayed.inc_by(count),
            Disposition::Dead(_) => self.poison.inc_by(count),
        }
    }

    /// A peek or commit failed.
    pub fn failed(&self, reason: &str) {
        self.failed.with_label_values(&[reason]).inc();
    }

    /// A batch was moved that too few replicas are known to have.
    pub fn wait_short(&self) {
        self.wait_short.inc();
    }

    /// How long the queue will take; `None` where nothing is drained.
    pub fn estimate(&self, time: Option<Duration>) {
        self.estimate
            .set(time.map_or(f64::NAN, |time| time.as_secs_f64()));
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

    /// Redis answered, or not.
    pub fn redis_up(&self, up: bool) {
        self.up.set(up.into());
    }

    /// Messages in a dead letter list.
    pub fn dlq_depth(&self, name: &str, depth: i64) {
        self.dlq_depth.with_label_values(&[name]).set(depth);
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

/// The age of the oldest dead letter, computed when it is asked for: a gauge set once per pass
/// would stand still for a whole interval.
#[derive(Clone, Debug)]
struct OldestAge {
    gauge: Gauge,
    since: Arc<AtomicI64>,
}

/// No message lies in the queue.
const NONE: i64 = i64::MIN;
/// A message lies there that does not tell its age.
const UNKNOWN: i64 = i64::MIN + 1;

impl OldestAge {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            gauge: Gauge::new(
                "mutt_remediation_oldest_dead_letter_age_seconds",
                "Age of the oldest dead letter since its last replay, else since its timestamp, in seconds; 0 for an empty queue, NaN where it does not tell",
            )?,
            since: Arc::new(AtomicI64::new(NONE)),
        })
    }

    fn set(&self, depth: u64, since: Option<i64>) {
        let since = if depth == 0 {
            NONE
        } else {
            since.unwrap_or(UNKNOWN)
        };
        self.since.store(since, Ordering::Relaxed);
    }
}

impl Collector for OldestAge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(match self.since.load(Ordering::Relaxed) {
            NONE => 0.0,
            UNKNOWN => f64::NAN,
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds since 1970 are exact in f64"
            )]
            since => (jiff::Timestamp::now().as_second() - since).max(0) as f64,
        });
        self.gauge.collect()
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
