//! A run while it works: progress, the way to interrupt it, and how it ended.

use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::screen::{Screen, answer, put_json, remark};
use super::{Outcome, clean, is_interactive, spell};
use crate::operate::wire::{RunState, RunView};
use crate::shutdown::Signals;

/// After the second signal.
const GRACE: Duration = Duration::from_secs(1);

/// Follows a run to its end. The first signal asks for its end, the second leaves at once.
pub(super) async fn follow(desk: &Desk, screen: Screen, run: &str) -> anyhow::Result<Outcome> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let (interrupted, leave) = (CancellationToken::new(), CancellationToken::new());
    let bar = bar()?;
    let mut trouble = None;
    let seen = |view: &RunView| {
        show(&bar, view);
        if view.trouble != trouble {
            trouble.clone_from(&view.trouble);
            if let Some(why) = &trouble {
                bar.suspend(|| remark(&format!("it waits: {}", clean::line(why))));
            }
        }
    };
    let following = Box::pin(desk.follow(run, seen, &leave));
    let cancelling = async {
        interrupted.cancelled().await;
        bar.suspend(|| remark("asked it to end; a second signal leaves it alone"));
        if let Err(refusal) = desk.cancel(run).await {
            bar.suspend(|| remark(&clean::line(&refusal.text)));
        }
        // Its end is what `following` waits for.
        std::future::pending().await
    };
    let watching = async {
        signals.watch(interrupted.clone()).await;
        leave.cancel();
        // Time to hand the run back, and no more.
        sleep(GRACE).await;
    };
    let view = tokio::select! {
        view = following => Some(view),
        never = cancelling => never,
        () = watching => None,
    };
    bar.finish_and_clear();
    let stands = match &view {
        Some(Ok(view)) => view.state == RunState::Running,
        Some(Err(refusal)) => refusal.may_pass(),
        None => true,
    };
    if stands {
        let run = clean::line(run);
        remark(&format!(
            "run {run} stands as it is: a daemon goes on with it, or `mutt-remediation runs follow {run}`"
        ));
    }
    let view = view.transpose()?;
    let Some(view) = view else {
        return Ok(Outcome::Killed);
    };
    if screen.json {
        put_json(&view)?;
    } else {
        answer(&format!("{}\n", told(&view)))?;
    }
    if interrupted.is_cancelled() && view.state != RunState::Done {
        return Ok(Outcome::Killed);
    }
    Ok(outcome(&view))
}

/// What became of a run, for people.
pub(super) fn told(view: &RunView) -> String {
    let summary = clean::line(&view.summary);
    let queue = clean::line(&view.queue);
    let before = spell::count(view.depth_before);
    let after = view.depth_after.map_or_else(String::new, |after| {
        format!(
            " ({queue} had {before} messages and has {})",
            spell::count(after)
        )
    });
    format!("{}: {summary}{after}", view.action.as_str())
}

/// The exit code that the end of a run means: done only if all was moved that was asked for.
pub(super) fn outcome(view: &RunView) -> Outcome {
    let left: u64 = view.left.values().sum();
    let whole = view.moved >= view.wanted && left == 0;
    match view.state {
        RunState::Done if whole => Outcome::Done,
        _ if view.moved == 0 => Outcome::Failed,
        _ => Outcome::Partly,
    }
}

fn bar() -> anyhow::Result<ProgressBar> {
    if !is_interactive() {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(0);
    let style = "{bar:30} {pos}/{len} moved, {per_sec}, {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}

fn show(bar: &ProgressBar, view: &RunView) {
    bar.set_length(view.wanted);
    bar.set_position(view.moved);
    let (scanned, all) = (spell::count(view.scanned), spell::count(view.to_scan));
    let at = if view.instance.is_empty() {
        "nobody at it yet".to_owned()
    } else {
        format!("{} at it", clean::line(&view.instance))
    };
    bar.set_message(format!("looked at {scanned} of {all}, {at}"));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::operate::wire::{Action, Filter};

    pub(crate) fn view(state: RunState, moved: u64, wanted: u64, left: u64) -> RunView {
        RunView {
            run: "alerter.1".into(),
            queue: "alerter".into(),
            action: Action::Replay,
            filter: Filter::default(),
            state,
            wanted,
            moved,
            left: [("changed".to_owned(), left)].into(),
            scanned: 0,
            to_scan: 0,
            conflicts: 0,
            rate: None,
            by: "alice".into(),
            instance: String::new(),
            started_at: 0,
            updated_at: 0,
            until: None,
            depth_before: 40,
            depth_after: Some(40),
            trouble: None,
            summary: format!("moved {moved} of {wanted}"),
        }
    }

    #[test]
    fn the_exit_code_tells_whether_all_some_or_nothing_was_moved() {
        for (state, moved, wanted, left, code) in [
            (RunState::Done, 40, 40, 0, 0),
            (RunState::Done, 0, 0, 0, 0),
            (RunState::Done, 0, 40, 0, 1),
            (RunState::Done, 0, 0, 40, 1),
            (RunState::Done, 39, 40, 0, 3),
            (RunState::Done, 40, 40, 1, 3),
            (RunState::TimedOut, 12, 40, 0, 3),
            (RunState::TimedOut, 0, 40, 0, 1),
            (RunState::Cancelled, 12, 40, 0, 3),
            (RunState::Failed, 12, 40, 0, 3),
            (RunState::Failed, 0, 40, 0, 1),
        ] {
            let view = view(state, moved, wanted, left);
            assert_eq!(outcome(&view).code(), code, "{state:?} {moved} of {wanted}");
        }
    }

    #[test]
    fn a_run_that_did_nothing_says_so() {
        let said = told(&view(RunState::Done, 0, 40, 0));
        assert_eq!(
            said,
            "replay: moved 0 of 40 (alerter had 40 messages and has 40)"
        );
    }
}
