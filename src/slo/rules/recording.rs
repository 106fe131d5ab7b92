//! What is recorded: each objective over every stretch that anybody looks at.

use super::super::query;
use super::super::window::{LADDER, Window};
use super::{Group, Keyed, Rule};

/// Stretches from here on change slowly and cost much.
const LONG: Window = Window::hours(24);
/// How often the short ones are evaluated.
pub(super) const OFTEN: Window = Window::minutes(1);
/// How often the long ones are: twice before Prometheus takes a sample for stale.
const SELDOM: Window = Window::minutes(2);

pub(super) fn groups(objectives: &[Keyed<'_>]) -> Vec<Group> {
    let group = |name, interval, is_long: bool| Group {
        name,
        interval,
        rules: objectives
            .iter()
            .flat_map(|objective| rules(objective, is_long))
            .collect(),
    };
    vec![
        group("mutt-slo", OFTEN, false),
        group("mutt-slo-long", SELDOM, true),
    ]
}

fn rules(keyed: &Keyed<'_>, is_long: bool) -> Vec<Rule> {
    let objective = keyed.objective;
    let record = |name, expr| Rule::Record {
        name,
        expr,
        labels: keyed.labels(),
    };
    let mut rules = vec![];
    if !is_long {
        let target = format!("vector({})", objective.target);
        rules.push(record("mutt:slo:target".into(), target));
    }
    let wanted = |window: &Window| (*window >= LONG) == is_long;
    let mut shares = LADDER.to_vec();
    shares.extend(objective.windows());
    shares.sort();
    shares.dedup();
    for window in shares.into_iter().filter(wanted) {
        let expr = query::recorded(objective, window);
        rules.push(record(keyed.share(window), expr));
    }
    for window in counted(keyed).into_iter().filter(wanted) {
        let expr = query::total(objective, window);
        rules.push(record(keyed.events(window), expr));
    }
    rules
}

/// The stretches that must have had enough events, or any, the shortest first.
fn counted(keyed: &Keyed<'_>) -> Vec<Window> {
    let objective = keyed.objective;
    let mut windows: Vec<_> = objective.pairs().all().map(|pair| pair.long).into();
    windows.extend([objective.period, objective.silence()]);
    windows.sort();
    windows.dedup();
    windows
}
