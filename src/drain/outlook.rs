//! Puts together what the pace decides upon: the queues ahead, what came back, and the time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::gate::Shut;
use super::pace::View;
use crate::dlq::ahead::{Ahead, Breaker, Hold, Seen};
use crate::dlq::arrivals::{Arrivals, CameBack};
use crate::guard::Deferred;
use crate::link;
use crate::settings::Settings;
use crate::slo::Slos;

/// For so long a look serves further decisions, own replays counted in. Where only the depths have
/// to be new, what came back is not looked for more often than that either.
const FRESH: Duration = Duration::from_millis(50);

/// Looks at the pipeline for one source.
#[derive(Debug)]
pub struct Outlook {
    ahead: Ahead,
    arrivals: Arrivals,
    target_is_alert_queue: bool,
    /// Whether the guard has replays wait; `None` if it is nothing to these.
    deferred: Option<watch::Receiver<Deferred>>,
    /// Whether the forwarder's error budget burns, and whether replays wait for that.
    slos: (Slos, watch::Receiver<Settings>),
    began: Instant,
    last: Option<(Instant, Seen)>,
    /// When what came back was looked for.
    searched: Option<Instant>,
    /// What came back and was in no view yet.
    untold: CameBack,
    saw_all: bool,
}

impl Outlook {
    /// An outlook over connections of its own, made at the first use.
    #[must_use]
    pub fn new(
        ahead: Ahead,
        arrivals: Arrivals,
        target_is_alert_queue: bool,
        deferred: Option<watch::Receiver<Deferred>>,
        slos: (Slos, watch::Receiver<Settings>),
    ) -> Self {
        Self {
            ahead,
            arrivals,
            target_is_alert_queue,
            deferred,
            slos,
            began: Instant::now(),
            last: None,
            searched: None,
            untold: CameBack::default(),
            saw_all: true,
        }
    }

    /// The pipeline as it is, or as it was just now.
    ///
    /// # Errors
    /// The connection to Redis.
    pub async fn view(&mut self, learning: bool) -> Result<View, link::Error> {
        if let Some((at, seen)) = self.last
            && at.elapsed() < FRESH
        {
            return Ok(self.put_together(seen, None));
        }
        if self.searched.is_some_and(|at| at.elapsed() < FRESH) {
            let seen = twice_looked(&mut self.ahead).await?;
            self.last = Some((Instant::now(), seen));
            return Ok(self.put_together(seen, None));
        }
        let came_back = async {
            if !learning {
                return Ok(CameBack::default());
            }
            match self.arrivals.replays_that_came_back().await {
                Err(error) if is_stale(&error) => self.arrivals.replays_that_came_back().await,
                answer => answer,
            }
        };
        let (seen, came_back) = tokio::join!(twice_looked(&mut self.ahead), came_back);
        // It is told of once only, so that it is kept if there is no view of it now.
        match came_back {
            Ok(news) => {
                self.untold.replayed.extend(news.replayed);
                self.untold.complete &= news.complete;
            }
            Err(error) => {
                seen?;
                return Err(error);
            }
        }
        let seen = seen?;
        let now = Instant::now();
        (self.last, self.searched) = (Some((now, seen)), Some(now));
        let told = std::mem::take(&mut self.untold);
        self.saw_all = told.complete;
        Ok(self.put_together(seen, Some(told.replayed)))
    }

    /// Whether the last new view tells of all replays that have come back; false where more had
    /// arrived than is read at once, or a stamp could not be read. True without stamps.
    #[must_use]
    pub fn saw_all(&self) -> bool {
        self.saw_all
    }

    /// A view of nothing but what shuts the gate.
    #[must_use]
    pub fn blind(&self, why: Shut) -> View {
        View {
            now: self.began.elapsed(),
            second: jiff::Timestamp::now().as_second(),
            shut: Some(why),
            ..View::default()
        }
    }

    /// How long it is until that time of a view.
    #[must_use]
    pub fn until(&self, time: Duration) -> Duration {
        time.saturating_sub(self.began.elapsed())
    }

    /// The next view is to be a new one.
    pub fn look_again(&mut self) {
        (self.last, self.searched) = (None, None);
    }

    /// The depths of the next view are to be new.
    pub fn measure_again(&mut self) {
        self.last = None;
    }

    /// So many replays were pushed to the target.
    pub fn moved(&mut self, replayed: u64) {
        self.arrivals.taken(replayed);
        if let Some((_, seen)) = &mut self.last {
            seen.target_depth += replayed;
            if self.target_is_alert_queue {
                seen.alert_depth += replayed;
            }
        }
    }

    fn put_together(&self, seen: Seen, came_back: Option<Vec<i64>>) -> View {
        let shut = match (seen.held, seen.breaker) {
            (Some(Hold::Paused), _) => Some(Shut::Paused),
            (Some(Hold::Run), _) => Some(Shut::Run),
            (None, Breaker::Open) => Some(Shut::Breaker),
            (None, _) => {
                let holds = |deferred: &watch::Receiver<Deferred>| deferred.borrow().holds();
                let deferred = self.deferred.as_ref().is_some_and(holds);
                let (slos, settings) = &self.slos;
                let budget = || {
                    let burns = settings.borrow().slo.gate && slos.borrow().burns();
                    burns.then_some(Shut::Budget)
                };
                deferred.then_some(Shut::Deferred).or_else(budget)
            }
        };
        View {
            now: self.began.elapsed(),
            second: jiff::Timestamp::now().as_second(),
            shut,
            half_open: seen.breaker == Breaker::HalfOpen,
            target_depth: seen.target_depth,
            alert_depth: seen.alert_depth,
            alert_warn: seen.alert_warn,
            target_is_alert_queue: self.target_is_alert_queue,
            is_new: came_back.is_some(),
            all_seen: self.saw_all,
            came_back: came_back.unwrap_or_default(),
        }
    }
}

async fn twice_looked(ahead: &mut Ahead) -> Result<Seen, link::Error> {
    match ahead.look().await {
        Err(error) if is_stale(&error) => ahead.look().await,
        answer => answer,
    }
}

/// The line may have gone stale between two looks; looking again does no harm.
fn is_stale(error: &link::Error) -> bool {
    !error.is_answer() && error.reason != link::Reason::Timeout
}
