//! Prometheus rule files: what it records of the objectives, when it alerts of them, and when of the
//! worker. Pure: from objectives to text.

mod burn;
mod recording;
mod worker;
mod yaml;

use super::objective::{Indicator, Objective};
use super::window::Window;
use yaml::{Alert, Group, Rule};

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// What is recorded of the objectives.
    SloRecording,
    /// Alerts of their budgets; they need what is recorded.
    SloAlerts,
    /// Alerts of the worker, which need nothing but its metrics.
    WorkerAlerts,
}

impl File {
    /// Every file.
    pub const ALL: [Self; 3] = [Self::SloRecording, Self::SloAlerts, Self::WorkerAlerts];

    /// Its name, without what it ends in.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SloRecording => "slo-recording",
            Self::SloAlerts => "slo-alerts",
            Self::WorkerAlerts => "worker-alerts",
        }
    }

    /// Its text, in YAML. The links to the runbook begin with `runbook_base`.
    #[must_use]
    pub fn text(self, objectives: &[Objective], runbook_base: &str) -> String {
        let keyed = keyed(objectives);
        let groups = match self {
            Self::SloRecording => recording::groups(&keyed),
            Self::SloAlerts => burn::groups(&keyed, runbook_base),
            Self::WorkerAlerts => worker::groups(runbook_base),
        };
        let head = format!(
            "Written by `mutt-remediation rules {}`: change that, not this.",
            self.as_str()
        );
        yaml::text(&head, &groups)
    }
}

/// An objective, and what its series are called.
struct Keyed<'a> {
    objective: &'a Objective,
    key: String,
}

impl Keyed<'_> {
    /// The share of its bad events over a stretch; of a latency objective the rates of its buckets.
    fn share(&self, window: Window) -> String {
        format!("mutt:slo:{}:{window}", self.key)
    }

    /// How many events a stretch has had.
    fn events(&self, window: Window) -> String {
        format!("mutt:slo_events:{}:{window}", self.key)
    }

    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![
            ("component", self.objective.component.clone()),
            ("slo", self.objective.name.clone()),
        ]
    }
}

/// A component's first objective that is none of latency speaks for it, and is called like it, unless
/// another objective is; every other one is called by its own name. So no two are called alike.
fn keyed(objectives: &[Objective]) -> Vec<Keyed<'_>> {
    let is_latency =
        |objective: &Objective| matches!(objective.indicator, Indicator::Latency { .. });
    let key = |objective: &Objective| {
        let first = objectives
            .iter()
            .find(|one| one.component == objective.component && !is_latency(one));
        let speaks = first.is_some_and(|first| first.name == objective.name);
        let taken = objectives
            .iter()
            .any(|one| one.name == objective.component && one.name != objective.name);
        if speaks && !taken {
            objective.component.clone()
        } else {
            objective.name.clone()
        }
    };
    let keyed = objectives.iter().map(|objective| Keyed {
        objective,
        key: key(objective),
    });
    keyed.collect()
}

/// A share as people say it, in percent.
fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::built_in::built_in;
    use super::*;

    fn keys(objectives: &[Objective]) -> Vec<String> {
        keyed(objectives).into_iter().map(|one| one.key).collect()
    }

    #[test]
    fn one_objective_speaks_for_its_component() {
        assert_eq!(
            keys(&built_in()),
            [
                "ingestor",
                "ingestor_latency_p99",
                "forwarder",
                "forwarder_latency_p99",
                "alerter",
                "alerter_cache_reload_success",
                "remediation",
                "remediation_drain_time"
            ]
        );
    }

    #[test]
    fn an_objective_that_is_called_like_another_ones_component_keeps_its_name() {
        let mut objectives = built_in();
        objectives[4].name = "forwarder".into();
        let keys = keys(&objectives);
        assert_eq!(keys[2], "forwarder_availability");
        assert_eq!(
            keys[4], "alerter",
            "it speaks for its own component as ever"
        );
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());

        objectives[4].name = "alerter".into();
        assert_eq!(super::tests::keys(&objectives)[4], "alerter");
    }

    #[test]
    fn shares_are_said_in_percent_without_noughts() {
        for (share, text) in [
            (1.0 - 0.999, "0.1 %"),
            (14.4 * (1.0 - 0.995), "7.2 %"),
            (0.5, "50 %"),
            (1.0 - 0.99999, "0.001 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn without_objectives_the_files_are_sound() {
        let text = File::SloAlerts.text(&[], "");
        assert!(text.ends_with("\ngroups: []\n"), "{text}");
    }
}
