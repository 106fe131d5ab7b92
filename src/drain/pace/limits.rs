//! What no batch may exceed, whatever was learnt.

use std::time::Duration;

use super::{Act, Decision, Gate, Memory, PaceRules, View, Waiting, positive, wait};

/// A rate is cut into slices of this length.
const SLICE: f64 = 0.1;
/// So soon after a batch half of one is not worth the effort.
const SOON: Duration = Duration::from_millis(20);

/// As many messages as fit ahead and the rate allows.
pub(super) fn within_limits(
    gate: Gate,
    mut count: u64,
    memory: &Memory,
    view: &View,
    rules: &PaceRules,
) -> Decision {
    if view.now < memory.free_at && rules.max_per_second > 0 {
        return wait(gate, Waiting::Rate, Some(memory.free_at));
    }
    if let Some(rate) = positive(rules.max_per_second) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number below the rate"
        )]
        let slice = (rate * SLICE).ceil() as u64;
        count = count.min(slice);
    }
    // A batch that is not worth the effort waits for more room.
    let ever = match rules.target_max_depth {
        0 => u64::MAX,
        depth => depth,
    };
    let ever = if rules.adaptive {
        ever.min(view.alert_warn)
    } else {
        ever
    };
    let is_soon = memory.last.is_some_and(|last| view.now < last + SOON);
    let least = if is_soon {
        rules.canary_size.max(count / 2)
    } else {
        rules.canary_size
    };
    let worthwhile = count.min(least).min(ever);
    let room = room(view, rules);
    if room < worthwhile.max(1) {
        return wait(gate, Waiting::Room, None);
    }
    Decision {
        gate,
        act: Act::Go(count.min(room)),
    }
}

/// How many messages the queues ahead may take.
fn room(view: &View, rules: &PaceRules) -> u64 {
    let target = match rules.target_max_depth {
        0 => u64::MAX,
        depth => depth.saturating_sub(view.target_depth),
    };
    if !rules.adaptive {
        return target;
    }
    // What lies in the target will be in the alert queue soon.
    let coming = if view.target_is_alert_queue {
        0
    } else {
        view.target_depth
    };
    let ahead = view.alert_depth.saturating_add(coming);
    target.min(view.alert_warn.max(1).saturating_sub(ahead))
}
