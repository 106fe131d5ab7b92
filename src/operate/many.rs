//! Acts on many messages that are named: found all in one go, and moved as many at once as others at
//! work on the queue let them.

use std::collections::BTreeMap;

use super::acts::MOST;
use super::find::{Looked, Wanted};
use super::judge::{Task, Verdict, act};
use super::mover::{BYTES, Chosen, Moved, Mover};
use super::queues::Queue;
use super::search::{Found, hexadecimal};
use super::wire::{ActOutcome, Named};
use super::{Error, Operator, now};
use crate::dlq::Transfer;

/// Conflicts in a row after which an act gives up; after each of them it tries half as many at once.
const TRIES: u32 = 8;

/// An act, and what it needs.
pub(super) struct Act<'a> {
    pub(super) operator: &'a Operator,
    pub(super) queue: &'a Queue,
    pub(super) task: Task<'a>,
    pub(super) mover: Mover,
}

/// What is to be looked for, each once.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn wanted(messages: &[Named]) -> Result<Vec<Wanted>, Error> {
    let mut all: Vec<Wanted> = vec![];
    for named in messages {
        let digest = hexadecimal(&named.digest)?;
        match all.iter_mut().find(|wanted| wanted.digest == digest) {
            Some(known) => {
                known.times += 1;
                known.at = known.at.or(named.at);
            }
            None => all.push(Wanted {
                digest,
                times: 1,
                at: named.at,
            }),
        }
    }
    Ok(all)
}

impl Act<'_> {
    /// Moves what was looked for and found, and says in the outcome what became of it.
    pub(super) async fn carry_out(
        &mut self,
        names: &[Wanted],
        mut looked: Looked,
        outcome: &mut ActOutcome,
    ) -> Result<(), Error> {
        let mut names = names.to_vec();
        let (mut tries, mut most) = (TRIES, MOST);
        loop {
            outcome.scanned += looked.scanned;
            outcome.complete &= looked.short_of.is_none();
            let mut meant = meant(&names, looked.found, &mut outcome.missing)?;
            let chosen = self.choose(&mut meant, most, outcome);
            if chosen.is_empty() {
                return Ok(());
            }
            if self.mover.take(&chosen).await? == Moved::All {
                outcome.moved += chosen.len() as u64;
                tries = TRIES;
                gone(&mut meant, &chosen);
            } else {
                tries -= 1;
                most = (chosen.len() / 2).max(1);
            }
            names = left(&meant);
            if names.is_empty() {
                return Ok(());
            }
            if tries == 0 {
                let why = "others changed the queue each time".to_owned();
                let count = names.iter().map(|wanted| wanted.times as u64).sum();
                outcome.left.insert(why, count);
                return Ok(());
            }
            looked = self.operator.look_for(self.queue, &names).await?;
        }
    }

    /// What is to be moved next, in rising order of the places. What is to stay is told, and left out of
    /// what is meant from here on.
    fn choose(&self, meant: &mut Meant, most: usize, outcome: &mut ActOutcome) -> Vec<Chosen> {
        let second = now();
        let mut transfers = vec![];
        meant.retain(|_, (found, times)| {
            let Some(bytes) = &found.bytes else {
                return true;
            };
            match act(bytes, &self.task, second) {
                Verdict::Move(transfer) => {
                    transfers.push((transfer, found.at[..*times].to_vec()));
                    true
                }
                Verdict::Leave(why) => {
                    *outcome.left.entry(why.into()).or_default() += *times as u64;
                    false
                }
                // No filter leaves out what is named.
                Verdict::NotMeant => false,
            }
        });
        let each = transfers.iter();
        let places =
            each.flat_map(|(transfer, places)| places.iter().map(move |at| (*at, transfer)));
        let mut places: Vec<(u64, &Transfer)> = places.collect();
        places.sort_by_key(|(at, _)| *at);
        let mut bytes = 0;
        let fits = |(_, transfer): &&(u64, &Transfer)| {
            bytes += transfer.entry.0.len() as u64;
            bytes <= BYTES
        };
        let fit = places.iter().take(most).take_while(fits).count().max(1);
        let chosen = places.into_iter().take(fit);
        let chosen = chosen.map(|(at, transfer)| Chosen {
            at,
            transfer: transfer.clone(),
        });
        chosen.collect()
    }
}

/// What is meant by its digest, and how many copies of it.
type Meant = BTreeMap<String, (Found, usize)>;

/// What was found of the names; the others are missing.
///
/// # Errors
/// [`Error::Conflict`] where others may be meant as well.
fn meant(
    names: &[Wanted],
    found: Vec<Option<Found>>,
    missing: &mut Vec<String>,
) -> Result<Meant, Error> {
    let mut meant = Meant::new();
    for (wanted, found) in names.iter().zip(found) {
        let Some(found) = found else {
            let digests = std::iter::repeat_n(wanted.digest.clone(), wanted.times);
            missing.extend(digests);
            continue;
        };
        found.only(&wanted.digest)?;
        let (known, times) = meant
            .entry(found.digest.clone())
            .or_insert((found.clone(), 0));
        *times += wanted.times;
        // The same message under two names, of which one was seen elsewhere.
        if known.at.len() < found.at.len() {
            *known = found;
        }
    }
    for (digest, (found, times)) in &mut meant {
        let copies = found.at.len();
        let more = times.saturating_sub(copies);
        missing.extend(std::iter::repeat_n(digest.clone(), more));
        *times -= more;
    }
    Ok(meant)
}

/// Takes note that these have gone, and all others have come nearer.
fn gone(meant: &mut Meant, chosen: &[Chosen]) {
    let gone: Vec<u64> = chosen.iter().map(|chosen| chosen.at).collect();
    meant.retain(|_, (found, times)| {
        let before = found.at.len();
        found.at.retain(|at| !gone.contains(at));
        *times -= before - found.at.len();
        for at in &mut found.at {
            *at -= gone.iter().filter(|gone| *gone < at).count() as u64;
        }
        *times > 0
    });
}

/// What is still to be looked for, and where it should lie by now.
fn left(meant: &Meant) -> Vec<Wanted> {
    let wanted = |(digest, (found, times)): (&String, &(Found, usize))| Wanted {
        digest: digest.clone(),
        times: *times,
        at: found.at.first().copied(),
    };
    meant.iter().map(wanted).collect()
}

impl ActOutcome {
    /// What became of it, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = format!("moved {} of {}", self.moved, self.wanted);
        if !self.missing.is_empty() {
            text.push_str(&format!("; {} not found", self.missing.len()));
            if !self.complete {
                text.push_str(", though not all of the queue was looked at");
            }
        }
        for (why, count) in &self.left {
            text.push_str(&format!("; {count} left: {why}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(digest: &str, at: Option<u64>) -> Named {
        Named {
            digest: digest.repeat(20),
            at,
        }
    }

    fn found(digest: &str, at: &[u64]) -> Found {
        Found {
            digest: digest.repeat(20),
            bytes: Some(digest.into()),
            at: at.to_vec(),
            alone: true,
        }
    }

    #[test]
    fn a_message_is_looked_for_once_however_often_it_is_named() {
        let names = [
            named("ab", None),
            named("cd", Some(4)),
            named("AB", Some(7)),
        ];
        let names = wanted(&names).expect("sound names");
        let times: Vec<_> = names.iter().map(|name| (name.times, name.at)).collect();
        assert_eq!(times, [(2, Some(7)), (1, Some(4))]);
    }

    #[test]
    fn copies_that_are_not_there_are_missing_and_what_has_gone_brings_the_others_nearer() {
        let names = [named("ab", None), named("ab", None), named("ab", None)];
        let mut names = wanted(&names).expect("sound names");
        names.extend(wanted(&[named("cd", None), named("ef", None)]).expect("sound names"));
        let looked = vec![Some(found("ab", &[3, 9])), Some(found("cd", &[7, 8])), None];
        let mut missing = vec![];
        let mut meant = meant(&names, looked, &mut missing).expect("each is one");
        assert_eq!(missing, ["ef".repeat(20), "ab".repeat(20)]);
        let transfer = Transfer {
            entry: crate::dlq::Entry(vec![]),
            edits: vec![],
            disposition: crate::dlq::Disposition::Purge,
        };
        let chosen = [3, 7].map(|at| Chosen {
            at,
            transfer: transfer.clone(),
        });
        gone(&mut meant, &chosen);
        let left: Vec<_> = left(&meant)
            .into_iter()
            .map(|name| (name.times, name.at))
            .collect();
        assert_eq!(left, [(1, Some(7))], "the ninth has come two places nearer");
    }
}
