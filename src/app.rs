//! The composition root: from a configuration to running loops. Knows everything, decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::audit::tell::{Journal, Scribe, journal};
use crate::audit::{self, Trail};
use crate::background::{self, Died, Loops, Pulse, Thread};
use crate::config::Config;
use crate::config::sources::SourceConfig;
use crate::dlq::ahead::{Ahead, AheadConfig, Hold};
use crate::dlq::arrivals::Arrivals;
use crate::dlq::bell::Bell;
use crate::dlq::latch::Latch;
use crate::dlq::queue::Queue;
use crate::dlq::spread::NoRoom;
use crate::drain::outlook::Outlook;
use crate::drain::status::{Board, DrainStatus};
use crate::drain::{Drain, DrainConfig, Learnt};
use crate::guard::{self, Deferred, GuardConfig};
use crate::health::probe::Probe;
use crate::health::{Answered, Moogsoft};
use crate::history::{History, Watched};
use crate::http::api::{self, Access, ApiConfig, ApiState};
use crate::http::console::{self, Beside, ConsoleState};
use crate::http::{self, BindError, HealthState, Limits};
use crate::metrics::{Metrics, tasks};
use crate::notify::{self, Notifier, Sight};
use crate::open_files;
use crate::operate::Operator;
use crate::operate::queues::Keys;
use crate::operate::wire::RunView;
use crate::retain::{self, DeadList, DeadLists, RetainConfig};
use crate::settings::watch::Knowledge;
use crate::settings::{self, Settings};
use crate::slo::known::Known;
use crate::slo::{self, SloConfig, Slos};
use crate::survey::{self, Reach, SurveyConfig};
use crate::trace::export::Export;
use crate::trace::{self, Tracer};

/// How long the loops may take to end; what they then have in flight is safe, it is only not
/// reported. Together with the listeners' moment this stays below ten seconds.
const GRACE: Duration = Duration::from_secs(8);

/// Why the app cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error("a listener cannot be bound")]
    Bind(#[source] BindError),
    /// The HTTP client for the probe.
    #[error("the probe of Moogsoft cannot be set up")]
    Probe(#[source] reqwest::Error),
    /// A metric's name is taken, which is a mistake in the program.
    #[error("the metrics cannot be set up")]
    Metrics(#[source] prometheus::Error),
    /// A list's name cannot be used in a cluster.
    #[error("the lists cannot be used in a cluster")]
    NoRoom(#[source] NoRoom),
    /// The operating system refuses a thread for the listeners.
    #[error("the listeners' thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The operating system does not tell a listener's address.
    #[error("a listener has no address")]
    Address(#[source] std::io::Error),
}

/// Why a running app ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A loop that should run for ever did not.
    #[error("a loop that should run for ever did not")]
    Died(#[source] Died),
}

/// A listener, and where it listens.
type Listener = (TcpListener, SocketAddr);

/// Everything in place, listeners bound, nothing running yet.
#[derive(Debug)]
pub struct App {
    /// The listeners have it for themselves, so that no crowd takes turns from the loops.
    front: Thread,
    health: Listener,
    metrics_listener: Listener,
    api: Option<(Listener, ApiState)>,
    beside: Beside,
    limits: Limits,
    drains: Vec<Drain>,
    survey: SurveyConfig,
    guard: Option<GuardConfig>,
    deferring: watch::Sender<Deferred>,
    settings: watch::Sender<Settings>,
    knowledge: watch::Sender<Knowledge>,
    dynamic: bool,
    scribe: Scribe,
    /// Where refused settings are told.
    refusals: (Journal, Option<String>),
    operator: Operator,
    retain: RetainConfig,
    notify: Option<Told>,
    slo: Watching,
    /// What sends traces, on a thread apart, so that a collector takes no turn from the loops.
    export: Option<(Thread, Export)>,
    metrics: Metrics,
}

/// What watches the objectives needs.
type Watching = (
    SloConfig,
    watch::Receiver<Settings>,
    watch::Sender<Arc<Known>>,
);

/// What tells people, and what it needs.
#[derive(Debug)]
struct Told {
    /// Apart from the loops, so that a receiver takes no turn from them.
    thread: Thread,
    notifier: Notifier,
    drains: Vec<watch::Receiver<DrainStatus>>,
    runs: mpsc::Receiver<RunView>,
}

impl Told {
    /// Begins to tell, on the thread that it returns, until cancelled.
    fn begin(
        self,
        loops: &mut Loops,
        redis: watch::Receiver<Reach>,
        dead_lists: watch::Receiver<Vec<DeadList>>,
        shutdown: CancellationToken,
    ) -> Thread {
        let sight = Sight {
            redis,
            drains: self.drains,
            dead_lists,
            runs: self.runs,
        };
        let telling = self.notifier.run(sight, shutdown);
        loops.spawn_on(&self.thread, "notify", telling);
        self.thread
    }
}

impl App {
    /// Binds the listeners and builds all parts. Redis and Moogsoft need not be up.
    ///
    /// # Errors
    /// [`StartError`] says which part and why.
    pub fn start(config: Config) -> Result<Self, StartError> {
        // Exactly one TLS provider; a second call finds it installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let survey = survey_of(&config);
        let metrics = metrics_of(&config, &survey)?;
        let (tracer, export) = traced(&config, &metrics)?;
        let moogsoft = moogsoft(&config, &metrics, tracer.clone())?;

        let limits = limits();
        let front = Thread::start("http").map_err(StartError::Thread)?;
        let health = listen(&front, config.health_port, "HEALTH_PORT_REMEDIATION")?;
        let metrics_listener = listen(&front, config.metrics_port, "METRICS_PORT_REMEDIATION")?;
        let api = listen_api(&front, &config)?;

        let patience = patience(&config);
        let (settings, following) = watch::channel(config.settings.clone());
        let unread = if config.dynamic {
            Knowledge::Unread
        } else {
            Knowledge::NotNeeded
        };
        let (known, knowledge) = watch::channel(unread);
        let (deferring, deferred) = watch::channel(Deferred::default());
        let (slo, slos) = watching(&config, &following);
        let budget = (slos.clone(), following.clone());
        let beside = beside(&config, &metrics, moogsoft.subscribe());
        let moogsoft = Arc::new(Mutex::new(moogsoft));
        let (journal, scribe) = journal(config.audit.length);
        let mut drains = vec![];
        for source in config.sources.clone() {
            let redis = &config.redis;
            let lists = source.lists.clone();
            let names = (source.name.as_str(), lists.source.as_str());
            let trail = Trail::of_drain(redis, &config.audit, names, &source.fields);
            if let Some(way) = Queue::way(redis, &lists) {
                tracing::info!(source = source.name, "redis cluster: {way}");
            }
            drains.push(Drain {
                config: DrainConfig {
                    batch_max_bytes: config.batch_max_bytes,
                    stall_max: config.stall_max,
                    stamp: config.stamp,
                    instance: config.audit.instance.clone(),
                    audit: trail.as_ref().map(|trail| trail.key.clone()),
                    patience,
                },
                settings: following.clone(),
                moogsoft: moogsoft.clone(),
                outlook: outlook(&config, &source, deferred.clone(), budget.clone()),
                journal: journal.clone(),
                board: Board::new(&source.name),
                bell: config
                    .wake_on_arrival
                    .then(|| Bell::new(redis.clone(), &lists.source)),
                latch: Latch::new(redis.clone(), &lists.source),
                queue: Queue::new(redis.clone(), lists)
                    .map_err(StartError::NoRoom)?
                    .with_trail(trail),
                metrics: metrics.drain.of(&source.name),
                health_metrics: metrics.health.clone(),
                pulse: Pulse::new(patience),
                knowledge: knowledge.clone(),
                learnt: Learnt::default(),
                tracer: tracer.clone(),
                source,
            });
        }
        let first = &config.sources[0].lists.source;
        let board = |drain: &Drain| drain.board.subscribe();
        let boards: Vec<_> = drains.iter().map(board).collect();
        let state = || api_state(&config, &following, &boards, &metrics, slos);
        let api = api.map(|listener| (listener, state()));
        let (ended, runs) = mpsc::channel(notify::RUNS);
        let notify = told(&config, &boards, runs, &metrics)?;
        let operator = Operator::new(&config).beside(following, boards);
        let operator = operator.telling(ended);
        let dead_lists = operator.dead_lists();
        dead_lists.for_each(|queue| metrics.retain.list(&queue.name));
        Ok(Self {
            front,
            health,
            metrics_listener,
            api,
            beside,
            limits,
            drains,
            survey,
            guard: config.guard,
            deferring,
            settings,
            knowledge: known,
            dynamic: config.dynamic,
            scribe,
            refusals: (journal, audit::key(&config.redis, first)),
            operator,
            retain: config.retain,
            notify,
            slo,
            export,
            metrics,
        })
    }

    /// Address of `/health` and `/ready`.
    #[must_use]
    pub fn health_address(&self) -> SocketAddr {
        self.health.1
    }

    /// Address of `/metrics`.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_listener.1
    }

    /// Address of the operator's API, if it is served.
    #[must_use]
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|((_, address), _)| *address)
    }

    fn count_tasks(&self) {
        let counted = &self.metrics.tasks;
        counted.count(tasks::LOOPS, background::figures_here());
        counted.count(tasks::HTTP, self.front.figures());
        if let Some(told) = &self.notify {
            counted.count(tasks::NOTIFY, told.thread.figures());
        }
        if let Some((thread, _)) = &self.export {
            counted.count(tasks::TRACES, thread.figures());
        }
    }

    /// Runs until `shutdown` is cancelled; then ends the loops, and the listeners last, so that
    /// probes are answered until the end.
    ///
    /// # Errors
    /// When a loop dies.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        self.count_tasks();
        let (reach, seen) = watch::channel(Reach::Unknown);
        let closing = CancellationToken::new();
        let health = http::health_routes(HealthState {
            pulses: self
                .drains
                .iter()
                .map(|drain| drain.pulse.clone())
                .collect(),
            reach: seen.clone(),
            shutdown: shutdown.clone(),
        });
        let metrics = http::metrics_routes(self.metrics.clone());
        let mut listeners = Loops::default();
        let serve = http::serve(self.health.0, health, self.limits, closing.clone());
        listeners.spawn_on(&self.front, "health", serve);
        let serve = http::serve(
            self.metrics_listener.0,
            metrics,
            self.limits,
            closing.clone(),
        );
        listeners.spawn_on(&self.front, "metrics", serve);
        if let Some(((listener, _), api)) = self.api {
            let ended = closing.clone();
            let console = ConsoleState::new(api.clone(), self.beside.clone(), closing.clone());
            let pages = api::routes(api.clone()).merge(console::routes(console));
            let serve = http::serve(listener, pages, self.limits, closing.clone());
            listeners.spawn_on(&self.front, "api", async move {
                tokio::join!(serve, api.acts_ended(ended));
            });
        }

        let _traces = send_traces(self.export, &mut listeners, &closing);

        let mut loops = Loops::default();
        let redis = self.survey.redis.clone();
        let history = history(&self.beside, &self.drains, &self.metrics, shutdown.clone());
        loops.spawn("history", history);
        loops.spawn("audit", self.scribe.run(redis.clone(), shutdown.clone()));
        let (shown, dead_lists) = DeadLists::new();
        let retain = retain::run(
            self.retain,
            self.operator.clone(),
            self.metrics.retain.clone(),
            shown,
            shutdown.clone(),
        );
        let told = self.notify;
        let told = told.map(|told| told.begin(&mut loops, seen, dead_lists, shutdown.clone()));
        loops.spawn("retain", retain);
        let (slo, following, known) = self.slo;
        let slo = slo::run(slo, following, known, self.metrics.slo, shutdown.clone());
        loops.spawn("slo", slo);
        loops.spawn("runs", self.operator.work(shutdown.clone()));
        loops.spawn(
            "survey",
            survey::run(self.survey, reach, self.metrics.survey, shutdown.clone()),
        );
        // The sender stays alive either way, or the drain would think that nothing changes anymore.
        let _settings = if self.dynamic {
            let watch = settings::watch::run(
                redis,
                self.settings,
                self.metrics.settings,
                self.refusals,
                self.knowledge,
                shutdown.clone(),
            );
            loops.spawn("settings", watch);
            None
        } else {
            Some((self.settings, self.knowledge))
        };
        // The sender stays alive either way, or the drains would read what is no longer said.
        let _deferring = if let Some(guard) = self.guard {
            let guard = guard::run(guard, self.deferring, self.metrics.guard, shutdown.clone());
            loops.spawn("guard", guard);
            None
        } else {
            Some(self.deferring)
        };
        for drain in self.drains {
            loops.spawn("drain", drain.run(shutdown.clone()));
        }

        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            died = loops.first_death() => return Err(RunError::Died(died)),
            died = listeners.first_death() => return Err(RunError::Died(died)),
        }
        if let Ok(ended) = timeout(GRACE, loops.all_ended()).await {
            ended.map_err(RunError::Died)?;
        } else {
            tracing::warn!(
                "a loop did not end in time; what it had in flight is safe, the next start sees how it ended"
            );
        }
        closing.cancel();
        // What runs on a thread ends with it.
        drop(told);
        listeners.all_ended().await.map_err(RunError::Died)
    }
}

/// What each listener may hold, after the process was allowed as many open files as can be.
fn limits() -> Limits {
    let open_files = open_files::allow_most();
    let limits = Limits::within(open_files);
    tracing::debug!(
        open_files,
        connections = limits.connections,
        silent = limits.silent,
        "what each listener holds at most"
    );
    limits
}

/// What watches the objectives, and what is known of them.
fn watching(config: &Config, settings: &watch::Receiver<Settings>) -> (Watching, Slos) {
    let nothing = config.slo.nothing(&config.settings.slo);
    let (known, slos) = watch::channel(Arc::new(nothing));
    ((config.slo.clone(), settings.clone(), known), slos)
}

/// Looks at the pipeline behind a source's target.
fn outlook(
    config: &Config,
    source: &SourceConfig,
    deferred: watch::Receiver<Deferred>,
    slos: (Slos, watch::Receiver<Settings>),
) -> Outlook {
    let Config {
        redis, alert_queue, ..
    } = config;
    let keys = Keys::of(redis, &config.audit, &source.lists.source);
    let ahead = AheadConfig {
        target: source.lists.target.clone(),
        alert_queue: source.backpressure.then(|| alert_queue.to_owned()),
        holds: keys.map_or_else(Vec::new, |keys| {
            vec![(Hold::Paused, keys.pause), (Hold::Run, keys.active)]
        }),
    };
    Outlook::new(
        Ahead::new(redis.clone(), ahead),
        Arrivals::new(redis.clone(), &source.lists.source, source.fields.clone()),
        source.lists.target == *alert_queue,
        source.backpressure.then_some(deferred),
        slos,
    )
}

/// How long a batch may take: it is a probe, a peek and a commit, each perhaps over a new connection.
fn patience(config: &Config) -> Duration {
    let probe = config.probe.as_ref();
    let probe = probe.map_or(Duration::ZERO, |probe| probe.timeout);
    Duration::from_secs(60) + probe + config.redis.timeout * 4
}

/// Metrics that start at what is configured.
fn metrics_of(config: &Config, survey: &SurveyConfig) -> Result<Metrics, StartError> {
    let metrics = Metrics::new().map_err(StartError::Metrics)?;
    settings::keys(&config.settings).for_each(|key| metrics.settings.key(&key));
    metrics.settings.enabled(config.settings.enabled);
    metrics.survey.start_with(&survey.dlqs, &survey.queues);
    metrics.slo.show(&config.slo.nothing(&config.settings.slo));
    Ok(metrics)
}

/// All lists whose depth is shown, each once.
fn survey_of(config: &Config) -> SurveyConfig {
    let mut dlqs: Vec<String> = vec![];
    let mut queues: Vec<String> = vec![];
    for source in &config.sources {
        dlqs.extend([source.lists.source.clone(), source.lists.dead.clone()]);
        queues.push(source.lists.target.clone());
    }
    dlqs.push(config.moog_dlq.clone());
    queues.push(config.alert_queue.clone());
    for names in [&mut dlqs, &mut queues] {
        names.sort_unstable();
        names.dedup();
    }
    SurveyConfig {
        redis: config.redis.clone(),
        dlqs,
        queues,
    }
}

fn listen(thread: &Thread, port: u16, variable: &'static str) -> Result<Listener, StartError> {
    let listener = thread
        .within(|| http::bind(port, variable))
        .map_err(StartError::Bind)?;
    let address = listener.local_addr().map_err(StartError::Address)?;
    Ok((listener, address))
}

/// What the operator's API speaks to, with lines to Redis of its own: a line lives on the thread
/// that has opened it.
fn api_state(
    config: &Config,
    settings: &watch::Receiver<Settings>,
    boards: &[watch::Receiver<DrainStatus>],
    metrics: &Metrics,
    slos: Slos,
) -> ApiState {
    let operator = Operator::new(config).beside(settings.clone(), boards.to_vec());
    // Nobody, where there is no API; then nobody listens either.
    let nobody = Access::Keys(api::Keys::default());
    let access = config.api.as_ref().map_or(nobody, ApiConfig::access);
    ApiState::new(operator, slos, access, metrics.api.clone())
}

/// The gate before Moogsoft; without a probe it counts as healthy.
fn moogsoft(config: &Config, metrics: &Metrics, tracer: Tracer) -> Result<Moogsoft, StartError> {
    let probe = config.probe.clone().map(Probe::new).transpose();
    let probe = probe.map_err(StartError::Probe)?;
    if probe.is_none() {
        metrics.health.assumed();
    }
    Ok(Moogsoft::new(probe, tracer))
}

/// What makes spans of the drains' work and what sends them, if anybody is to have them. What is
/// wrong with the certificates of this machine is no reason to drain nothing.
fn traced(
    config: &Config,
    metrics: &Metrics,
) -> Result<(Tracer, Option<(Thread, Export)>), StartError> {
    let Some(config) = &config.trace else {
        return Ok((Tracer::default(), None));
    };
    match trace::set_up(config, metrics.spans.clone()) {
        Ok((tracer, export)) => {
            let thread = Thread::start("traces").map_err(StartError::Thread)?;
            Ok((tracer, Some((thread, export))))
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::error!(error, "no traces are sent: the client cannot be set up");
            Ok((Tracer::default(), None))
        }
    }
}

/// Begins to send traces, until the loops have ended, on the thread that it returns.
fn send_traces(
    export: Option<(Thread, Export)>,
    listeners: &mut Loops,
    closing: &CancellationToken,
) -> Option<Thread> {
    let (thread, export) = export?;
    listeners.spawn_on(&thread, "traces", export.run(closing.clone()));
    Some(thread)
}

/// Remembers what the drains do.
fn history(
    beside: &Beside,
    drains: &[Drain],
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let watched = drains.iter().map(|drain| Watched {
        list: drain.source.lists.source.clone(),
        metrics: drain.metrics.clone(),
    });
    let (history, survey) = (beside.history.clone(), metrics.survey.clone());
    history.run(watched.collect(), survey, shutdown)
}

/// What the console shows besides what the API knows.
fn beside(
    config: &Config,
    metrics: &Metrics,
    moogsoft: watch::Receiver<Option<Answered>>,
) -> Beside {
    let sources = config.sources.iter().map(|source| source.name.clone());
    Beside {
        history: History::new(sources.collect()),
        moogsoft,
        probed: config.probe.is_some(),
        metrics: metrics.clone(),
    }
}

/// What tells people, if anybody is to be told. What is wrong with the certificates of this machine
/// is no reason to drain nothing.
fn told(
    config: &Config,
    drains: &[watch::Receiver<DrainStatus>],
    runs: mpsc::Receiver<RunView>,
    metrics: &Metrics,
) -> Result<Option<Told>, StartError> {
    let Some(notify) = config.notify.clone() else {
        return Ok(None);
    };
    let notifier = match notify::set_up(notify, &metrics.notify) {
        Ok(notifier) => notifier,
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::error!(
                error,
                "nobody is told of anything: the notifications cannot be set up"
            );
            return Ok(None);
        }
    };
    Ok(Some(Told {
        thread: Thread::start("notify").map_err(StartError::Thread)?,
        notifier,
        drains: drains.to_vec(),
        runs,
    }))
}

/// The listener of the operator's API, if there is to be one.
fn listen_api(thread: &Thread, config: &Config) -> Result<Option<Listener>, StartError> {
    const VARIABLE: &str = "API_PORT_REMEDIATION";
    let Some(api) = &config.api else {
        return Ok(None);
    };
    let bound = thread.within(|| match api.address {
        None => http::bind(api.port, VARIABLE),
        Some(address) => http::bind_at(address, api.port, VARIABLE),
    });
    match bound {
        Ok(listener) => {
            let address = listener.local_addr().map_err(StartError::Address)?;
            Ok(Some((listener, address)))
        }
        // Nobody has asked for it, and a daemon that ran before there was one must still run.
        Err(error) if !api.wanted => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "the operator's api is not served");
            Ok(None)
        }
        Err(error) => Err(StartError::Bind(error)),
    }
}
