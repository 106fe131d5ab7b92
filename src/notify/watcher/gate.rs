//! What is told of a gate, and what it means. Pure.

use super::super::condition::Look;
use crate::drain::status::DrainStatus;

/// What a look at the gate finds, for the event that it is shut, which was `told` or not.
pub(super) fn found(drain: &DrainStatus, told: bool) -> Look {
    match (drain.gate.as_str(), drain.why.as_str()) {
        ("", _) => Look::Unknown,
        // An operator's run replays meanwhile, and hides whether another reason still holds.
        ("shut", "run") if told => Look::Unknown,
        // A trial that fails shuts the gate again.
        ("shut", "run") | ("probation", _) => Look::Pauses,
        // With an operator's wish, and with what has an event of its own, ends what was told for
        // another reason: they may last for ever.
        ("shut", "disabled" | "systemic") => Look::Over,
        ("shut", _) => Look::Holds,
        _ => Look::Over,
    }
}

/// What its state means, in a few words.
pub(super) fn meaning(drain: &DrainStatus) -> &'static str {
    match (drain.gate.as_str(), drain.why.as_str()) {
        ("open", _) => "messages may be replayed again",
        ("probation", _) => "messages are replayed on trial",
        (_, "disabled") => "remediation is switched off",
        (_, "paused") => "an operator has paused it and not resumed it",
        (_, "run") => "a run of an operator is at work",
        (_, "moogsoft") => "Moogsoft does not take events",
        (_, "circuit_breaker") => "the circuit breaker of the forwarder is open",
        (_, "backpressure") => "the queue in front of the forwarder is too full",
        (_, "deferred") => "the alerter is above its shed threshold",
        (_, "slo") => "the forwarder spends its error budget critically fast",
        (_, "bounces") => "too many of the last replays came back",
        (_, "systemic") => "parking has stopped",
        _ => "nobody has looked yet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::gate::{Gate, Shut};

    fn drain(gate: &str, why: &str) -> DrainStatus {
        DrainStatus {
            gate: gate.into(),
            why: why.into(),
            ..DrainStatus::default()
        }
    }

    #[test]
    fn each_state_and_reason_has_a_meaning_of_its_own() {
        let shut = Shut::ALL.map(|why| meaning(&drain("shut", why.as_str())));
        let others = ["", "open", "probation"].map(|gate| meaning(&drain(gate, "")));
        let mut all = [&shut[..], &others[..]].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Shut::ALL.len() + others.len());
    }

    #[test]
    fn of_the_reasons_only_those_count_that_nobody_wished_and_a_pause_that_may_be_forgotten() {
        for why in Shut::ALL {
            let counts = !matches!(why, Shut::Disabled | Shut::Run | Shut::Systemic);
            let seen = drain(Gate::Shut(why).state(), why.as_str());
            for told in [false, true] {
                assert_eq!(found(&seen, told) == Look::Holds, counts, "{why:?}");
            }
        }
    }
}
