//! What an action does with a message. Pure.

use super::letter::Letter;
use super::queues::Role;
use super::wire::{Action, Filter};
use crate::dlq::envelope::Envelope;
use crate::dlq::{Disposition, Edit, Entry, Reason, Transfer};
use crate::drain::classify::Rules;

/// What is to be done, with which messages, and by which rules.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// What to do.
    pub action: Action,
    /// With which messages.
    pub filter: &'a Filter,
    /// What the list is.
    pub role: Role,
    /// Nobody can tell which source its messages are from.
    pub shared: bool,
    /// The rules of its source.
    pub rules: &'a Rules,
    /// Also with those that the alerter would discard, or that may be of another source.
    pub force: bool,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The filter leaves it out.
    NotMeant,
    /// It is meant, and stays where it is.
    Leave(&'static str),
    /// It moves.
    Move(Transfer),
}

/// Decides about a message at this time in Unix seconds.
#[must_use]
pub fn judge(bytes: &[u8], task: &Task<'_>, now: i64) -> Verdict {
    if task.filter.rules_out(bytes) {
        return Verdict::NotMeant;
    }
    let letter = Letter::read(bytes, task.role, task.rules, &task.filter.members());
    if !task.filter.matches(&letter, now) {
        return Verdict::NotMeant;
    }
    act(bytes, task, now)
}

/// Decides about a message that is meant.
#[must_use]
pub fn act(bytes: &[u8], task: &Task<'_>, now: i64) -> Verdict {
    let envelope = Envelope::read(bytes, &task.rules.fields).ok();
    if matches!(task.action, Action::Replay | Action::Restore)
        && !task.force
        && let Some(why) = discarded(envelope.as_ref(), task.rules)
    {
        return Verdict::Leave(why);
    }
    if task.action == Action::Restore && task.shared && !task.force {
        return Verdict::Leave("perhaps of another source");
    }
    let (disposition, edits) = match task.action {
        Action::Export => return Verdict::Leave("export moves nothing"),
        Action::Replay => {
            let stamp = envelope.filter(|_| task.rules.stamp);
            let edits = stamp.map_or_else(Vec::new, |envelope| envelope.replay_stamp(now));
            (Disposition::Replay, edits)
        }
        Action::Bury => {
            let why = Reason::Operator;
            let stamp = envelope.filter(|_| task.rules.stamp);
            let edits =
                stamp.map_or_else(Vec::new, |envelope| envelope.dead_stamp(why.as_str(), now));
            (Disposition::Dead(why), edits)
        }
        Action::Restore => {
            let edits = envelope.map_or_else(Vec::new, |envelope| envelope.restore_stamp());
            (Disposition::Restore, edits)
        }
        Action::Purge => (Disposition::Purge, vec![]),
    };
    Verdict::Move(Transfer {
        entry: Entry(bytes.to_vec()),
        edits,
        disposition,
    })
}

/// Why the alerter would discard it, or the drain park it at once.
fn discarded(envelope: Option<&Envelope<'_>>, rules: &Rules) -> Option<&'static str> {
    let Some(envelope) = envelope else {
        return Some("malformed");
    };
    let complete = rules.required_fields.iter().all(|name| envelope.has(name));
    (!complete).then_some("incomplete")
}

/// What replaces a message by other bytes, stamped like any replay.
#[must_use]
pub fn replaced(old: &[u8], new: &str, rules: &Rules, now: i64) -> Transfer {
    let stamped = Transfer {
        entry: Entry(new.as_bytes().to_vec()),
        edits: Envelope::read(new.as_bytes(), &rules.fields)
            .ok()
            .filter(|_| rules.stamp)
            .map_or_else(Vec::new, |envelope| envelope.replay_stamp(now)),
        disposition: Disposition::Replay,
    };
    let text = String::from_utf8_lossy(&stamped.arriving()).into_owned();
    Transfer {
        entry: Entry(old.to_vec()),
        edits: vec![Edit {
            range: 0..old.len(),
            text,
        }],
        disposition: Disposition::Replay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn verdict(action: Action, force: bool, text: &str) -> Verdict {
        let rules = Rules {
            required_fields: vec!["hostname".into()],
            ..Rules::alerter()
        };
        let task = Task {
            action,
            filter: &Filter::default(),
            role: Role::Dead,
            shared: false,
            rules: &rules,
            force,
        };
        judge(text.as_bytes(), &task, NOW)
    }

    fn arriving(action: Action, text: &str) -> String {
        match verdict(action, false, text) {
            Verdict::Move(transfer) => String::from_utf8_lossy(&transfer.arriving()).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_replay_is_stamped_like_the_workers_own() {
        assert_eq!(
            arriving(Action::Replay, r#"{"hostname":"a","_retry_count":4}"#),
            r#"{"hostname":"a","_retry_count":0,"_remediation_count":1,"_remediation_at":1790000000}"#
        );
    }

    #[test]
    fn a_restored_message_has_another_life() {
        assert_eq!(
            arriving(
                Action::Restore,
                r#"{"hostname":"a","_retry_count":4,"_moog_retry_count":3,"_remediation_count":3,"_remediation_at":5}"#
            ),
            r#"{"hostname":"a","_retry_count":0,"_moog_retry_count":0,"_remediation_count":0,"_remediation_at":5}"#
        );
    }

    #[test]
    fn a_buried_message_says_by_whom_and_a_purged_one_is_not_changed() {
        assert_eq!(
            arriving(Action::Bury, "{}"),
            r#"{"_remediation_reason":"operator","_remediation_dead_at":1790000000}"#
        );
        assert_eq!(arriving(Action::Purge, "[1]"), "[1]");
    }

    #[test]
    fn what_the_alerter_would_discard_is_left_unless_it_is_forced() {
        for action in [Action::Replay, Action::Restore] {
            assert_eq!(verdict(action, false, "[1]"), Verdict::Leave("malformed"));
            assert_eq!(verdict(action, false, "{}"), Verdict::Leave("incomplete"));
            assert!(matches!(verdict(action, true, "[1]"), Verdict::Move(_)));
        }
        let counted = r#"{"hostname":"a","_retry_count":"x"}"#;
        assert_eq!(
            verdict(Action::Replay, false, counted),
            Verdict::Leave("malformed")
        );
    }

    #[test]
    fn an_edited_message_arrives_as_it_was_edited_and_stamped() {
        let transfer = replaced(b"[old", r#"{"a":1}"#, &Rules::alerter(), NOW);
        assert_eq!(
            String::from_utf8_lossy(&transfer.arriving()),
            r#"{"a":1,"_remediation_count":1,"_remediation_at":1790000000}"#
        );
        assert_eq!(transfer.entry.0, b"[old");
    }
}
