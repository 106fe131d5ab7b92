//! The rules of the backpressure guard.

use super::super::sections::GuardVars;
use super::Reader;
use crate::dlq::overflow::GuardedLists;
use crate::guard::GuardConfig;
use crate::guard::orphans::OrphanConfig;
use crate::link::LinkConfig;
use crate::link::cluster::slot;

impl Reader {
    /// The guard, if it is switched on.
    pub(in super::super) fn guard(
        &mut self,
        vars: GuardVars,
        redis: &LinkConfig,
        lists: GuardedLists,
    ) -> Option<GuardConfig> {
        let enabled = vars.backpressure_guard_enabled;
        let enabled = self.take("BACKPRESSURE_GUARD_ENABLED", enabled).0;
        let processing = vars.alerter_processing_list_prefix;
        let heartbeat = vars.alerter_heartbeat_prefix;
        let orphans = OrphanConfig {
            processing: self.take("ALERTER_PROCESSING_LIST_PREFIX", processing).0,
            heartbeat: self.take("ALERTER_HEARTBEAT_PREFIX", heartbeat).0,
        };
        if !enabled {
            return None;
        }
        let others = [
            ("INGEST_QUEUE_NAME", &lists.ingest),
            ("ALERTER_DLQ_NAME", &lists.dlq),
        ];
        for (other, _) in others.iter().filter(|(_, name)| **name == lists.alert) {
            self.problems.push(format!(
                "ALERT_QUEUE_NAME and {other} are both {:?}: expected two different lists, because BACKPRESSURE_GUARD_ENABLED is true",
                lists.alert
            ));
        }
        if !redis.cluster.is_empty() && !lists.share_a_slot() {
            self.problems.push(format!(
                "BACKPRESSURE_GUARD_ENABLED: the guard moves messages from {:?} (slot {}) to {:?} (slot {}) in one step, expected INGEST_QUEUE_NAME and ALERTER_DLQ_NAME in one slot of the cluster: give them a common hash tag, like {{mutt}}:ingest_queue and {{mutt}}:dlq:alerter",
                lists.ingest, slot(&lists.ingest), lists.dlq, slot(&lists.dlq)
            ));
        }
        Some(GuardConfig {
            redis: redis.clone(),
            lists,
            orphans,
        })
    }
}
