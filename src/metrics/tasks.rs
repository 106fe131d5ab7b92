//! Metrics of the program's own tasks, counted whenever somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tokio::runtime::RuntimeMetrics;

use super::Registrar;

/// The loops and what they start.
pub const LOOPS: &str = "loops";
/// The listeners, their connections, and the acts that they are asked for.
pub const HTTP: &str = "http";
/// What tells people.
pub const NOTIFY: &str = "notify";
/// What sends traces.
pub const TRACES: &str = "traces";

/// How many tasks there are, by the runtime that they belong to.
#[derive(Clone, Debug)]
pub struct TaskMetrics {
    tasks: IntGaugeVec,
    runtimes: Arc<Mutex<Vec<(&'static str, RuntimeMetrics)>>>,
}

impl TaskMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let opts = prometheus::Opts::new(
            "mutt_remediation_tasks",
            "Tasks of the program that have not ended, by the runtime that they belong to",
        );
        let tasks = IntGaugeVec::new(opts, &["runtime"])?;
        for runtime in [LOOPS, HTTP, NOTIFY, TRACES] {
            tasks.with_label_values(&[runtime]);
        }
        new.add(Self {
            tasks,
            runtimes: Arc::default(),
        })
    }

    /// From now on the tasks of this runtime are counted under this name.
    pub fn count(&self, name: &'static str, runtime: RuntimeMetrics) {
        let mut all = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((name, runtime));
    }
}

impl Collector for TaskMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.tasks.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, runtime) in &*all {
            let alive = i64::try_from(runtime.num_alive_tasks()).unwrap_or(i64::MAX);
            self.tasks.with_label_values(&[name]).set(alive);
        }
        self.tasks.collect()
    }
}
