//! A daemon that is stopped at one step of its first batch, and what can be done to it there.

use std::sync::Mutex;

use redis::Value;

use super::ledger::{Found, Ledger, List, Verdict, numbers};
use super::letters::{Form, Letter};
use super::others;
use super::place::{Lists, Place};
use super::schedule::Raid;
use crate::support::{DEAD, Daemon, Held, Onward, Redis, SOURCE, Stepper, Stop, TARGET, until};
use Onward::Pass;

/// How many messages lie in source, target and dead list.
pub type Depths = [usize; 3];

/// A queue with eight letters, and a daemon that has been stopped at a step.
pub struct Scene {
    pub redis: Redis,
    stepper: Stepper,
    pub daemon: Option<Daemon>,
    ledger: Mutex<Ledger>,
}

impl Scene {
    /// Waits until the daemon is there.
    pub async fn at(stop: Stop) -> (Self, Held) {
        Self::with(&eight(), stop).await
    }

    pub async fn with(letters: &[Letter], stop: Stop) -> (Self, Held) {
        let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
        let () = redis
            .command(&[
                "ACL", "SETUSER", "worker", "on", "nopass", "~*", "&*", "+@all",
            ])
            .await;
        let stepper = Stepper::before(redis.port()).await;
        stepper.stop_at(stop);
        let mut scene = Self {
            daemon: None,
            redis,
            stepper,
            ledger: Mutex::default(),
        };
        scene.dead_letter(letters).await;
        scene.daemon = Some(daemon(scene.stepper.port()));
        let held = scene.stepper.held().await;
        (scene, held)
    }

    pub async fn dead_letter(&self, letters: &[Letter]) {
        let mut line = others::Line::to(&self.redis);
        others::dead_letter(&mut line, letters, &self.ledger).await;
    }

    /// Lets it go on to another step.
    pub async fn on_to(&mut self, held: Held, stop: Stop) -> Held {
        self.stepper.stop_at(stop);
        held.go(Pass);
        self.stepper.held().await
    }

    pub async fn depths(&self) -> Depths {
        let mut depths = [0; 3];
        for (depth, list) in depths.iter_mut().zip([SOURCE, TARGET, DEAD]) {
            *depth = self.redis.len(list).await;
        }
        depths
    }

    /// Signal 9. What it had written to its socket before goes on or not.
    pub async fn kill(&mut self, held: Held, onward: Onward) {
        self.daemon = None;
        held.go(onward);
        until("redis has seen it go", || async {
            let clients: String = self.redis.command(&["CLIENT", "LIST"]).await;
            !clients.contains("name=stepped")
        })
        .await;
    }

    /// The operator takes something, in view of the count.
    pub async fn raid(&self, raid: Raid) {
        let mut line = others::Line::to(&self.redis);
        let raid = others::raid(line.lists(), raid, 0);
        let taken: Value = line.call(&raid).await.expect("it works");
        assert_ne!(taken, Value::Int(0));
    }

    /// Lets the daemon, or if it was killed another one, finish the work, and counts.
    pub async fn count(mut self) -> Verdict {
        if self.daemon.is_none() {
            self.daemon = Some(daemon(self.redis.port()));
        }
        until("the source is empty", || async {
            self.redis.len(SOURCE).await == 0
        })
        .await;
        let Lists { taken, pushed, .. } = Place::One.lists();
        let mut found = Found {
            pushed: numbers(&self.redis.texts(pushed).await),
            ..Found::default()
        };
        let lists = [
            (List::Target, TARGET),
            (List::Dead, DEAD),
            (List::Taken, taken),
            (List::Taken, &format!("{taken}:0")),
        ];
        for (list, name) in lists {
            found.lists.push((list, self.redis.list(name).await));
        }
        self.ledger.lock().expect("not poisoned").judge(&found)
    }

    pub async fn each_is_in_exactly_one_list(self) {
        let verdict = self.count().await;
        assert!(verdict.is_sound(), "{verdict}");
    }
}

/// Eight letters, the fourth and the last of them for the dead list.
pub fn eight() -> Vec<Letter> {
    let mut rng = fastrand::Rng::with_seed(0);
    let mut letters = vec![];
    while letters.len() < 8 {
        let letter = Letter::draw(&mut rng, letters.len());
        // What the drain may park at once has two ways of being parked: by it and by an operator.
        let parked = letter
            .forms
            .iter()
            .filter(|(_, form)| *form == Form::Parked(0));
        let replayable = parked.count() == 1;
        if replayable == (letters.len() % 4 < 3) {
            letters.push(letter);
        }
    }
    letters
}

pub fn daemon(port: u16) -> Daemon {
    Daemon::start_alone(&[
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port.to_string()),
        ("REDIS_USERNAME", "worker"),
        ("REDIS_PASSWORD", "any"),
        ("REDIS_TIMEOUT", "1"),
        ("POD_NAME", "stepped"),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ("REMEDIATION_BATCH_SIZE", "4"),
    ])
}
