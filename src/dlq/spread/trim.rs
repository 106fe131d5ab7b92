//! The second step of a move: what was pushed goes off the source, wherever it lies there by now.

use std::sync::LazyLock;

use super::{Queue, parts};
use crate::audit;
use crate::dlq::redis::{BRING, Script};
use crate::link::{self, Reason};

/// Entries behind a batch that a trim looks at.
const IN_SIGHT: u64 = 1_000;

/// Entries that are read at once then.
const PIECE: u64 = 100;

/// What a trim answers that has done nothing, because some of a batch is out of sight.
const OUT_OF_SIGHT: i64 = -2;

/// How often what is out of sight is looked for.
const GATHERINGS: u32 = 3;

impl Queue {
    /// Takes what was pushed off the source. Returns how many that were, or -1 if the batch has been
    /// taken off already, and how many were not found.
    pub(super) async fn take_off(
        &mut self,
        number: &str,
        pushed: &str,
        told: &[String],
    ) -> Result<(i64, i64), link::Error> {
        let (mut taken, mut missing) = self.trim(number, pushed, true, told).await?;
        let mut tries = GATHERINGS;
        while taken == OUT_OF_SIGHT {
            tries -= 1;
            let again = self.gather(pushed).await? && tries > 0;
            (taken, missing) = self.trim(number, pushed, again, told).await?;
        }
        Ok((taken, missing))
    }

    /// One try. With `wary`, nothing is done where some of it is out of sight.
    async fn trim(
        &mut self,
        number: &str,
        pushed: &str,
        wary: bool,
        told: &[String],
    ) -> Result<(i64, i64), link::Error> {
        let mut command = TRIM.command(&self.keys());
        command.arg(number).arg(pushed).arg(u8::from(wary));
        let length = self.trail.as_ref().map_or(0, |trail| trail.length);
        command.arg(length).arg(told);
        TRIM.call(&mut self.source.link, &command).await
    }

    /// Looks for what was pushed in the whole source, because an operator who made room at the old
    /// end has put some of it elsewhere, and brings it back. False where that brings nothing.
    async fn gather(&mut self, pushed: &str) -> Result<bool, link::Error> {
        let mut wanted: Vec<&str> = parts(pushed).collect();
        let in_sight = wanted.len() as u64 + IN_SIGHT;
        let mut found: Vec<(u64, String)> = vec![];
        let mut at = 0;
        while !wanted.is_empty() {
            let piece = self.older(at, PIECE).await?;
            if piece.is_empty() {
                break;
            }
            for entry in piece.iter().rev() {
                let name = audit::digest(entry);
                if let Some(known) = wanted.iter().position(|wanted| name.starts_with(wanted)) {
                    wanted.swap_remove(known);
                    found.push((at, name));
                }
                at += 1;
            }
        }
        if found.last().is_none_or(|(at, _)| *at < in_sight) {
            return Ok(false);
        }
        let mut command = BRING.command(&[&self.lists.source]);
        command.arg(0);
        for (at, name) in &found {
            command.arg(at).arg(name);
        }
        let brought = BRING.call::<i64>(&mut self.source.link, &command).await;
        match brought {
            Err(error) if error.reason == Reason::NoPermission => Ok(false),
            // Where others were at work in between, it is looked for again.
            brought => brought.map(|_| true),
        }
    }
}

static TRIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("trim.lua")));
