//! Loops in the background: who owns them, on which thread they run, whether they still turn, how
//! long they wait after a failure. The only place that spawns tasks, besides the connections of
//! `http` and the acts of its API.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{self, Handle, RuntimeMetrics};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// The loops of the process. One that ends on its own, or panics, is the end of all.
#[derive(Debug, Default)]
pub struct Loops {
    tasks: JoinSet<&'static str>,
}

/// A loop that should have run for ever.
#[derive(Debug, thiserror::Error)]
pub enum Died {
    /// It returned.
    #[error("the {0} loop ended on its own")]
    Ended(&'static str),
    /// It panicked.
    #[error("a loop panicked")]
    Panicked(#[source] JoinError),
}

impl Loops {
    /// Starts a loop.
    pub fn spawn(&mut self, name: &'static str, body: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "this is the file that spawns")]
        self.tasks.spawn(async move {
            body.await;
            name
        });
    }

    /// Starts a loop on a thread apart.
    pub fn spawn_on(
        &mut self,
        thread: &Thread,
        name: &'static str,
        body: impl Future<Output = ()> + Send + 'static,
    ) {
        #[expect(clippy::disallowed_methods, reason = "this is the file that spawns")]
        self.tasks.spawn_on(
            async move {
                body.await;
                name
            },
            &thread.runtime,
        );
    }

    /// Waits for the first loop to end, which none should.
    pub async fn first_death(&mut self) -> Died {
        match self.tasks.join_next().await {
            Some(Ok(name)) => Died::Ended(name),
            Some(Err(error)) => Died::Panicked(error),
            None => std::future::pending().await,
        }
    }

    /// Waits for all loops to end after they were cancelled.
    ///
    /// # Errors
    /// When one panics on its way out.
    pub async fn all_ended(&mut self) -> Result<(), Died> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(Died::Panicked)?;
        }
        Ok(())
    }
}

/// A thread with a runtime of its own: what runs there takes no turn from the loops elsewhere.
///
/// It lives as long as this does; what still runs there then is dropped.
#[derive(Debug)]
pub struct Thread {
    runtime: Handle,
    /// Never sent to: its end is the signal.
    _alive: oneshot::Sender<()>,
}

impl Thread {
    /// Starts a thread of this name, which has nothing to do yet.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        // Not joined: its loops were, and nothing it might still hold may hold up the end.
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(ended))?;
        Ok(Self {
            runtime: handle,
            _alive: alive,
        })
    }

    /// Tells how many tasks it has.
    #[must_use]
    pub fn figures(&self) -> RuntimeMetrics {
        self.runtime.metrics()
    }

    /// Makes something that belongs to its runtime, such as a socket.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        make()
    }
}

/// Tells how many tasks the runtime has that this is called on.
#[must_use]
pub fn figures_here() -> RuntimeMetrics {
    Handle::current().metrics()
}

/// A dead man's switch: the loop says when it will be back, and anyone can see that it is late.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// A pulse that must beat within this time.
    #[must_use]
    pub fn new(within: Duration) -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + within)))
    }

    /// The loop is alive, and will say so again within this time.
    pub fn expect_within(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    /// Since when the loop is late; `None` while it is not.
    #[must_use]
    pub fn overdue(&self) -> Option<Duration> {
        let expected = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now()
            .checked_duration_since(expected)
            .filter(|late| !late.is_zero())
    }
}

/// Waits that double up to a limit, each shortened by up to half at random, so that many workers
/// do not knock in step.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first` and never exceeds `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// After a success the waits begin anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_or_ends_is_named() {
        let mut loops = Loops::default();
        loops.spawn("short", async {});
        assert_eq!(
            loops.first_death().await.to_string(),
            "the short loop ended on its own"
        );
        loops.spawn("broken", async { panic!("on purpose") });
        assert!(matches!(loops.first_death().await, Died::Panicked(_)));
    }

    #[tokio::test]
    async fn a_thread_apart_runs_on_while_this_one_is_busy_and_its_loops_die_alike() {
        let thread = Thread::start("apart").expect("a thread");
        let mut loops = Loops::default();
        let (said, heard) = std::sync::mpsc::channel();
        loops.spawn_on(&thread, "short", async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let name = std::thread::current().name().map(str::to_owned);
            let _ = said.send(name);
        });
        // This runtime has one thread, which stands still meanwhile.
        let name = heard.recv_timeout(Duration::from_secs(60));
        assert_eq!(name.expect("it runs").as_deref(), Some("apart"));
        let died = loops.first_death().await;
        assert_eq!(died.to_string(), "the short loop ended on its own");
        loops.spawn_on(&thread, "broken", async { panic!("on purpose") });
        assert!(matches!(loops.first_death().await, Died::Panicked(_)));
        loops.spawn_on(&thread, "endless", std::future::pending());
        drop(thread);
        assert!(matches!(loops.first_death().await, Died::Panicked(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_is_overdue_once_its_time_has_passed() {
        let pulse = Pulse::new(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(pulse.overdue(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.overdue(), Some(Duration::from_secs(1)));
        pulse.expect_within(Duration::from_secs(5));
        assert_eq!(pulse.overdue(), None);
    }

    #[test]
    fn waits_double_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for full in [1.0, 2.0, 4.0, 5.0, 5.0] {
            let wait = backoff.next_wait().as_secs_f64();
            assert!((full / 2.0..=full).contains(&wait), "{wait} of {full}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_secs(1));
    }
}
