//! Whether every message is there, and only once.

use super::pipeline::{DONE, MADE};
use super::{ARCHIVE, SOURCES};
use crate::support::redis::Redis;

/// What became of the messages.
#[derive(Debug, Default)]
pub struct Accounts {
    pub made: usize,
    pub handled: usize,
    pub parked: usize,
    pub archived: usize,
    /// In a source or a target.
    pub waiting: usize,
    /// The first numbers of those that are nowhere, and of those that are in several places.
    pub lost: Vec<usize>,
    pub doubled: Vec<usize>,
}

impl Accounts {
    pub fn are_right(&self) -> bool {
        let all = self.handled + self.parked + self.archived + self.waiting;
        self.made > 0 && self.lost.is_empty() && self.doubled.is_empty() && all == self.made
    }
}

pub async fn count(redis: &Redis) -> Accounts {
    let made: usize = redis.command(&["GET", MADE]).await;
    let mut seen = vec![0; made + 1];
    let mut accounts = Accounts {
        made,
        ..Accounts::default()
    };
    let mut look = async |list: &str| {
        let bodies = redis.list(list).await;
        for body in &bodies {
            let number = number(body).unwrap_or_else(|| {
                panic!("{list} holds {:?}", String::from_utf8_lossy(body));
            });
            seen[number] += 1;
        }
        bodies.len()
    };
    accounts.handled = look(DONE).await;
    accounts.archived = look(ARCHIVE).await;
    let mut dead: Vec<&str> = SOURCES.iter().map(|source| source.3).collect();
    dead.dedup();
    for list in dead {
        accounts.parked += look(list).await;
    }
    for (_, source, target, _) in SOURCES {
        accounts.waiting += look(source).await + look(target).await;
    }
    let numbers = seen.iter().enumerate().skip(1);
    for (number, times) in numbers {
        match times {
            0 if accounts.lost.len() < 10 => accounts.lost.push(number),
            2.. if accounts.doubled.len() < 10 => accounts.doubled.push(number),
            _ => {}
        }
    }
    accounts
}

/// The number of a message, also where it lies as text within another one.
fn number(body: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(body);
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (_, rest) = text
        .split_once("\"n\": ")
        .or_else(|| text.split_once("\\\"n\\\": "))?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}
