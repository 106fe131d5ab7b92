//! The simulated worker: the real decisions, and passes and batches as the daemon makes them.

use std::time::Duration;

use mutt_remediation::drain::gate::{Gate, Shut};
use mutt_remediation::drain::pace::{Act, PaceRules, View, Waiting, decide};
use mutt_remediation::drain::plan::Again;

use super::{EPOCH, Message, POISON, POLL, STEPS, World, second, steps};

/// The share of a batch that may have used up its replays before none is parked.
const POISON_RATIO: f64 = 0.5;
/// How often a gate that is shut is looked at.
const GATE_LOOK: Duration = Duration::from_secs(5);

/// A pass of the worker: when it began, in steps, and how many letters it may take still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    began: u64,
    remaining: u64,
}

/// What the worker does next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Another batch after the pause.
    Batch,
    /// Another look.
    Look,
    /// Another pass, an interval after this one or, in steps, sooner.
    Pass(Option<u64>),
}

impl World<'_> {
    /// One turn of the worker. Returns after how many steps it acts again; `None` after a batch.
    pub(super) fn work(
        &mut self,
        step: u64,
        seconds: f64,
        rules: &PaceRules,
        interval: u64,
    ) -> Option<u64> {
        let pass = self.pass.get_or_insert(Pass {
            began: step,
            remaining: u64::MAX,
        });
        let next = pass.began + interval;
        match self.turn(step, seconds, rules, interval) {
            Next::Batch => None,
            Next::Look => Some(POLL),
            Next::Pass(wait) => {
                self.pass = None;
                let rest = next.saturating_sub(step);
                Some(wait.map_or(rest, |wait| wait.min(rest)).max(POLL))
            }
        }
    }

    /// One turn of a pass, as `Drain::drain` takes it.
    fn turn(&mut self, step: u64, seconds: f64, rules: &PaceRules, interval: u64) -> Next {
        let view = View {
            now: Duration::from_millis(step * 1_000 / STEPS),
            second: EPOCH + second(seconds),
            shut: None,
            half_open: false,
            target_depth: self.target.len() as u64,
            alert_depth: self.alerts.len() as u64,
            alert_warn: self.scenario.warn as u64,
            target_is_alert_queue: false,
            is_new: true,
            all_seen: true,
            came_back: std::mem::take(&mut self.came_back),
        };
        let (memory, decision) = decide(self.memory.clone(), &view, rules);
        self.memory = memory;
        if matches!(decision.gate, Gate::Shut(_)) {
            self.opened = None;
        } else if self.opened.is_none() {
            self.opened = Some(seconds);
        }
        self.gate = Some(decision.gate);
        let pass = self.pass.as_mut().expect("it has begun");
        match decision.act {
            Act::Go(_) if pass.remaining == 0 => Next::Pass(None),
            Act::Go(count) => {
                let count = count.min(pass.remaining);
                pass.remaining = pass.remaining.min(self.dlq.len() as u64);
                self.batch(count, seconds, &view, rules)
            }
            Act::Wait(Waiting::Gate, until) => {
                let wait = until.map_or(GATE_LOOK, |until| until.saturating_sub(view.now));
                Next::Pass(Some(steps(wait)))
            }
            Act::Wait(..) if step - pass.began > interval => Next::Pass(None),
            Act::Wait(..) => Next::Look,
        }
    }

    /// A batch of at most so many letters, as `Drain::batch` moves it.
    fn batch(&mut self, count: u64, seconds: f64, view: &View, rules: &PaceRules) -> Next {
        let had_stopped = self.systemic.is_on();
        if had_stopped {
            let whole = self.oldest(rules.batch_size);
            if !self.admits(&whole, view) {
                return self.stop(view, rules);
            }
        }
        let mut batch = self.oldest(count);
        let replayed_again = batch.iter().enumerate();
        let replayed_again =
            replayed_again.filter(|(_, letter)| (1..POISON).contains(&letter.replays));
        let replayed_again: Vec<Again> = replayed_again
            .map(|(place, letter)| Again {
                place,
                at: letter.at,
                last: letter.replays + 1 >= POISON,
            })
            .collect();
        let depth = self.dlq.len() as u64;
        let memory = &self.memory;
        if let Some(place) = memory.first_too_soon(&replayed_again, depth, view.second, rules) {
            batch.truncate(place);
        }
        if batch.is_empty() {
            return Next::Pass(None);
        }
        if !(had_stopped || self.admits(&batch, view)) {
            return self.stop(view, rules);
        }
        let size = batch.len() as u64;
        let used_up = self.used_up_together(&batch);
        self.systemic.moved(size, &used_up, view.second);
        let again = |letter: &&Message| (1..POISON).contains(&letter.replays);
        let again = batch.iter().filter(again);
        let before: Vec<i64> = again.map(|letter| letter.at).collect();
        let replayed = self.send(size, seconds, true);
        self.memory = self.memory.clone().moved(view, replayed, &before, rules);
        let pass = self.pass.as_mut().expect("it has begun");
        pass.remaining -= size;
        if count >= rules.batch_size && self.outcome.ramp.is_none() {
            self.outcome.ramp = self.opened.map(|opened| seconds - opened);
        }
        if pass.remaining == 0 && !rules.adaptive {
            return Next::Pass(None);
        }
        Next::Batch
    }

    /// The oldest letters, at most so many.
    fn oldest(&self, count: u64) -> Vec<Message> {
        let count = usize::try_from(count).expect("few");
        self.dlq.iter().rev().take(count).copied().collect()
    }

    /// When those of a batch were replayed last that are due to be parked and did not fail alone.
    fn used_up_together(&self, batch: &[Message]) -> Vec<i64> {
        let used_up = batch.iter().filter(|letter| letter.replays >= POISON);
        let used_up = used_up.map(|letter| letter.at);
        used_up
            .filter(|at| !self.memory.failed_alone(*at))
            .collect()
    }

    /// Whether these letters may be parked.
    fn admits(&mut self, batch: &[Message], view: &View) -> bool {
        let used_up = self.used_up_together(batch);
        let size = batch.len() as u64;
        self.systemic
            .admits(size, &used_up, view.second, POISON_RATIO)
    }

    /// Parking has stopped: the gate is shut, and a canary is the first to go when it opens.
    fn stop(&mut self, view: &View, rules: &PaceRules) -> Next {
        let blind = View {
            shut: Some(Shut::Systemic),
            is_new: false,
            came_back: vec![],
            ..view.clone()
        };
        let (memory, decision) = decide(self.memory.clone(), &blind, rules);
        self.memory = memory;
        self.gate = Some(decision.gate);
        Next::Pass(Some(steps(GATE_LOOK)))
    }
}
