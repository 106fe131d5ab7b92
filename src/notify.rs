//! Tells people what they should know: by signed webhooks, Slack, Alertmanager and mail.
//!
//! It reads what the loops publish, once a second, and nothing waits for it: it runs on a thread of
//! its own, each receiver has a bounded box of what is to be told ([`outbox`]), and one that hangs
//! holds up nobody else. What changed ([`watcher`]) and what goes together ([`outbox`]) is decided in
//! pure functions; [`send`] brings it there. It knows no more of a drain than its board shows.

pub mod condition;
pub mod event;
pub mod http;
pub mod mail;
pub mod outbox;
pub mod receiver;
pub mod sample;
pub mod send;
pub mod text;
pub mod watcher;
pub mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::background::Backoff;
use crate::drain::status::DrainStatus;
use crate::metrics::{NoteResult, NotifyMetrics};
use crate::operate::wire::RunView;
use crate::retain::DeadList;
use crate::survey::Reach;
use event::Note;
use http::Http;
use outbox::{Batch, Limits, Next, Outbox, Outcome};
use receiver::{Kind, Receiver};
use send::{Sender, SetUpError};
use watcher::{Rules, Seen, Watcher};
use wire::Teller;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Longest wait for the last messages when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Runs that have ended and are still to be told, at most.
pub const RUNS: usize = 64;

/// Whom to tell, and what.
#[derive(Clone, Debug)]
pub struct NotifyConfig {
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// What generic webhooks are signed with.
    pub secret: Option<SecretString>,
    /// Who tells.
    pub teller: Teller,
    /// From when on something is told.
    pub rules: Rules,
    /// How long the first note of a message waits for others.
    pub group: Duration,
    /// Messages in an hour to one receiver, at most.
    pub per_hour: u32,
}

/// What others publish.
#[derive(Debug)]
pub struct Sight {
    /// Whether Redis can be reached.
    pub redis: watch::Receiver<Reach>,
    /// How the drains stand.
    pub drains: Vec<watch::Receiver<DrainStatus>>,
    /// The dead lists.
    pub dead_lists: watch::Receiver<Vec<DeadList>>,
    /// Runs that have ended here.
    pub runs: mpsc::Receiver<RunView>,
}

impl Sight {
    fn seen(&self) -> Seen {
        Seen {
            redis: self.redis.borrow().clone(),
            drains: self
                .drains
                .iter()
                .map(|drain| drain.borrow().clone())
                .collect(),
            dead_lists: self.dead_lists.borrow().clone(),
        }
    }
}

/// One receiver, and what waits for it.
#[derive(Debug)]
struct Post {
    sender: Sender,
    outbox: Mutex<Outbox>,
    /// Something has come into the box.
    news: Notify,
    metrics: NotifyMetrics,
    /// Begins the names of our messages, so that no other process uses the same.
    prefix: String,
}

/// Who tells; made by [`set_up`].
#[derive(Debug)]
pub struct Notifier {
    rules: Rules,
    posts: Vec<Arc<Post>>,
}

/// The senders of a configuration, none of which has connected yet.
///
/// # Errors
/// When the system's certificate store cannot be used.
pub fn senders(config: &NotifyConfig) -> Result<Vec<Sender>, SetUpError> {
    let http = Http::new().map_err(SetUpError::Http)?;
    let receivers = config.receivers.iter().cloned();
    let sender = |receiver| {
        let (secret, teller) = (config.secret.clone(), config.teller.clone());
        Sender::new(receiver, secret, teller, http.clone())
    };
    receivers.map(sender).collect()
}

/// Makes ready whom to tell.
///
/// # Errors
/// When the system's certificate store cannot be used.
pub fn set_up(config: NotifyConfig, metrics: &NotifyMetrics) -> Result<Notifier, SetUpError> {
    let begun = now();
    let post = |sender: Sender| {
        let limits = Limits {
            group: config.group,
            per_hour: config.per_hour,
            again: sender.receiver().kind() == Kind::Alertmanager,
        };
        Arc::new(Post {
            sender,
            outbox: Mutex::new(Outbox::new(limits, begun)),
            news: Notify::new(),
            metrics: metrics.clone(),
            prefix: format!("{:016x}", fastrand::u64(..)),
        })
    };
    let posts = senders(&config)?.into_iter().map(post).collect();
    let rules = config.rules;
    Ok(Notifier { rules, posts })
}

impl Notifier {
    /// Looks and tells until cancelled.
    pub async fn run(self, sight: Sight, cancel: CancellationToken) {
        for post in &self.posts {
            tracing::info!(receiver = %post.sender.receiver(), "notifications are sent");
        }
        let posts = self.posts.iter().map(|post| post.work(&cancel));
        let watching = watch(self.rules, sight, &self.posts, &cancel);
        tokio::join!(watching, join_all(posts));
    }
}

/// Looks once a second, and puts what is to be told into the boxes.
async fn watch(rules: Rules, mut sight: Sight, posts: &[Arc<Post>], cancel: &CancellationToken) {
    let mut watcher = Watcher::new(rules);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let notes = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            Some(run) = sight.runs.recv() => watcher.run_ended(&run, second()).into_iter().collect(),
            _ = looks.tick() => watcher.look(&sight.seen(), now(), second()),
        };
        for note in notes {
            tracing::debug!(
                event = note.event.as_str(),
                state = note.state.as_str(),
                subject = text::plain(&note.subject),
                "to be told"
            );
            for post in posts {
                post.take(&note);
            }
        }
    }
}

impl Post {
    fn kind(&self) -> Kind {
        self.sender.receiver().kind()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let before = outbox.len();
        let done = act(&mut outbox);
        self.metrics.waiting(self.kind(), before, outbox.len());
        done
    }

    /// Puts a note into the box.
    fn take(&self, note: &Note) {
        let dropped = self.with(|outbox| outbox.push(note.clone(), now()));
        if let Some(dropped) = dropped {
            self.count(&[dropped], NoteResult::Dropped);
        }
        self.news.notify_one();
    }

    /// Sends what comes into the box, until cancelled.
    async fn work(&self, cancel: &CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut failing = false;
        while !cancel.is_cancelled() {
            match self.with(|outbox| outbox.next(now())) {
                Next::Send(batch) => {
                    let sent = tokio::select! {
                        biased;
                        () = cancel.cancelled() => break,
                        sent = self.send(&batch) => sent,
                    };
                    self.settle(sent, &mut backoff, &mut failing);
                }
                Next::Again(notes) => {
                    let told = tokio::select! {
                        biased;
                        () = cancel.cancelled() => break,
                        told = self.sender.tell_again(&notes) => told,
                    };
                    self.log(told.as_ref().err(), &mut failing);
                }
                Next::Wait(until) => tokio::select! {
                    () = cancel.cancelled() => {}
                    () = self.news.notified() => {}
                    () = at(until) => {}
                },
            }
        }
        self.last().await;
    }

    async fn send(&self, batch: &Batch) -> Result<(), send::Failure> {
        let id = format!("{}-{}", self.prefix, batch.number);
        self.sender.send(batch, &id).await
    }

    fn settle(&self, sent: Result<(), send::Failure>, backoff: &mut Backoff, failing: &mut bool) {
        self.log(sent.as_ref().err(), failing);
        let (outcome, result) = match sent {
            Ok(()) => {
                backoff.reset();
                (Outcome::Sent, NoteResult::Sent)
            }
            Err(failure) if failure.retry => {
                let wait = backoff.next_wait().max(failure.after.unwrap_or_default());
                let outcome = if failure.unsure {
                    Outcome::Unsure(wait)
                } else {
                    Outcome::Later(wait)
                };
                (outcome, NoteResult::Failed)
            }
            Err(_) => (Outcome::Never, NoteResult::Failed),
        };
        let settled = self.with(|outbox| outbox.settle(outcome, now()));
        self.count(&settled, result);
    }

    /// One more try for what is left, whether its time has come or not.
    async fn last(&self) {
        let all = async {
            while let Some(batch) = self.with(|outbox| outbox.last(now()))
                && self.send(&batch).await.is_ok()
            {
                let sent = self.with(|outbox| outbox.settle(Outcome::Sent, now()));
                self.count(&sent, NoteResult::Sent);
            }
        };
        // What does not get through is counted below.
        let _ = timeout(LAST, all).await;
        let lost = self.with(|outbox| outbox.len());
        if lost > 0 {
            tracing::warn!(
                receiver = %self.sender.receiver(),
                lost,
                "the process ends before all could be told"
            );
        }
    }

    /// One line when it begins to fail, and one when that is over.
    fn log(&self, failure: Option<&send::Failure>, failing: &mut bool) {
        let receiver = self.sender.receiver();
        match failure {
            Some(failure) if *failing => {
                tracing::debug!(%receiver, error = %failure, "a notification still cannot be sent");
            }
            Some(failure) => tracing::warn!(
                %receiver,
                error = %failure,
                again = failure.retry,
                "a notification cannot be sent"
            ),
            None if *failing => tracing::warn!(%receiver, "notifications are sent again"),
            None => {}
        }
        *failing = failure.is_some();
    }

    fn count(&self, notes: &[Note], result: NoteResult) {
        for note in notes {
            self.metrics.count(self.kind(), note.event, result);
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Now, by the clock that nobody sets.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Unix seconds.
fn second() -> i64 {
    jiff::Timestamp::now().as_second()
}
