//! A move in two steps, with the daemon's own scripts, and what happens where one of the rules of
//! `src/dlq/spread.rs` is left out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mutt_remediation::dlq::{Disposition, Transfer};
use mutt_remediation::link::cluster::beside;
use redis::{Cmd, RedisResult};
use serde::{Deserialize, Serialize};

use super::super::access::Access;
use super::super::others::{Line, script};
use super::super::place::Lists;
use super::{Way, planned};

const BEGIN: &str = include_str!("../../../../src/dlq/spread/begin.lua");
const CHECK: &str = include_str!("../../../../src/dlq/spread/check.lua");
const PUSH: &str = include_str!("../../../../src/dlq/spread/push.lua");
const TRIM: &str = include_str!("../../../../src/dlq/spread/trim.lua");

/// What was begun, for whoever has to end it.
#[derive(Deserialize, Serialize)]
struct Record {
    digests: String,
    dead: Vec<Vec<u8>>,
}

struct Worker {
    way: Way,
    lists: Lists,
    sequence: String,
    replayed: String,
    parked: String,
    source: Line,
    target: Line,
    dead: Line,
}

pub async fn session(
    way: Way,
    access: &Access,
    batch: usize,
    pause: Duration,
    stop: &AtomicBool,
) -> RedisResult<()> {
    let lists = access.lists;
    let key = |list, name| beside(list, name).expect("a plain name");
    let mut worker = Worker {
        way,
        lists,
        sequence: key(lists.source, "chaos:sequence"),
        replayed: key(lists.target, "chaos:replayed"),
        parked: key(lists.dead, "chaos:parked"),
        source: Line::new(access.clone()),
        target: Line::new(access.clone()),
        dead: Line::new(access.clone()),
    };
    while !stop.load(Ordering::SeqCst) {
        worker.pass(batch).await?;
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
    }
    Ok(())
}

impl Worker {
    async fn pass(&mut self, batch: usize) -> RedisResult<()> {
        let mut next = script(BEGIN, &[&self.sequence]);
        next.arg(0).arg(16);
        let (number, _): (String, i64) = self.source.call(&next).await?;
        let blind = [Way::TrimBlindly, Way::PushAgain].contains(&self.way);
        let mut get = redis::cmd("HGET");
        get.arg(&self.replayed).arg(&number);
        let begun: Option<String> = self.target.call(&get).await?;
        if let (Some(begun), false) = (begun, blind) {
            let record = serde_json::from_str(&begun).expect("it was written here");
            return self.end(&number, &record).await;
        }
        let mut range = redis::cmd("LRANGE");
        range
            .arg(self.lists.source)
            .arg(format!("-{batch}"))
            .arg(-1);
        let mut read: Vec<Vec<u8>> = self.source.call(&range).await?;
        read.reverse();
        let transfers = planned(read);
        if transfers.is_empty() {
            return Ok(());
        }
        self.commit(&number, &transfers).await
    }

    async fn commit(&mut self, number: &str, transfers: &[Transfer]) -> RedisResult<()> {
        let bodies = |wanted: bool| -> Vec<Vec<u8>> {
            let these = transfers
                .iter()
                .filter(|transfer| (transfer.disposition == Disposition::Replay) == wanted);
            these
                .map(|transfer| transfer.arriving().into_owned())
                .collect()
        };
        let (replays, dead) = (bodies(true), bodies(false));
        let digests = transfers.iter().map(|transfer| {
            let digest = sha1_smol::Sha1::from(&transfer.entry.0).hexdigest();
            digest[..32].to_owned()
        });
        let record = Record {
            digests: digests.collect(),
            dead,
        };
        let mut check = script(CHECK, &[self.lists.source, &self.sequence]);
        check.arg(number).arg(&record.digests);
        if self.source.call::<i64>(&check).await? == 0 {
            return Ok(());
        }
        let text = serde_json::to_string(&record).expect("plain");
        let push = push([self.lists.target, &self.replayed], number, &text, &replays);
        let answer: Vec<String> = self.target.call(&push).await?;
        match (answer[0].as_str(), self.way) {
            ("pushed", _) | ("known", Way::TrimBlindly) => {}
            ("known", Way::PushAgain) if replays.is_empty() => {}
            ("known", Way::PushAgain) => {
                let mut again = redis::cmd("LPUSH");
                again.arg(self.lists.target).arg(&replays[..]);
                let _: u64 = self.target.call(&again).await?;
            }
            // Somebody else's batch is ended first. A number beyond all records is not to be
            // expected here.
            _ => return Ok(()),
        }
        self.end(number, &record).await
    }

    async fn end(&mut self, number: &str, record: &Record) -> RedisResult<()> {
        let Record { digests, dead } = record;
        if !replicated(self.way, &mut self.target, &self.replayed, number).await? {
            return Ok(());
        }
        if !dead.is_empty() {
            let push = push([self.lists.dead, &self.parked], number, "", dead);
            let _: Vec<String> = self.dead.call(&push).await?;
            if !replicated(self.way, &mut self.dead, &self.parked, number).await? {
                return Ok(());
            }
        }
        let mut trim = script(TRIM, &[self.lists.source, &self.sequence]);
        trim.arg(number).arg(digests);
        let _: Vec<i64> = self.source.call(&trim).await?;
        Ok(())
    }
}

/// Whether the record of this batch is there, and a replica has it.
async fn replicated(way: Way, line: &mut Line, records: &str, number: &str) -> RedisResult<bool> {
    if way == Way::NoWait {
        return Ok(true);
    }
    // Somebody else may have pushed it: something of this line's own to wait for.
    let mut touch = redis::cmd("HSET");
    touch.arg(records).arg("touched").arg(1);
    let _: i64 = line.call(&touch).await?;
    let mut known = redis::cmd("HEXISTS");
    known.arg(records).arg(number);
    let known: bool = line.call(&known).await?;
    Ok(known && line.confirmed().await)
}

fn push(keys: [&str; 2], number: &str, record: &str, bodies: &[Vec<u8>]) -> Cmd {
    let mut push = script(PUSH, &keys);
    push.arg(number).arg(record).arg(0).arg(bodies);
    push
}
