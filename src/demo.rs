//! `mutt-remediation demo`: the daemon's own app, unchanged, between a throw-away Redis, a stand-in
//! Moogsoft that is down at first, and a stand-in alerter. Then every message is counted.

pub mod alerter;
mod keep;
pub mod letters;
pub mod moogsoft;
pub mod server;
mod tally;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use redis::aio::MultiplexedConnection;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::cli::{self, Outcome};
use crate::config::Config;
use crate::http::{self, Limits};
use crate::shutdown::Signals;
use alerter::{Alerter, PROCESSING};
use letters::Letter;
use moogsoft::Moogsoft;
use server::RedisServer;
use tally::Tally;

const SOURCE: &str = "mutt:dlq:alerter";
const TARGET: &str = "mutt:ingest_queue";
const DEAD: &str = "mutt:dlq:dead";

/// Moogsoft answers 503 for this long.
const OUTAGE: Duration = Duration::from_secs(2);
/// A demo that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(28);

/// Options of the demo.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoOptions {
    /// Dead letters to begin with
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    letters: u32,
    /// Show the daemon's log instead of a progress bar
    #[arg(long)]
    logs: bool,
    /// Go on afterwards with a stream of dead letters, and serve the console on this machine's loopback
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// When a part cannot be started, or a message was lost, doubled or altered.
pub async fn run(options: DemoOptions) -> anyhow::Result<Outcome> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let interrupted = CancellationToken::new();
    tokio::select! {
        biased;
        outcome = show(options, interrupted.clone()) => outcome,
        // Everything started lives in the other branch and ends with it.
        () = async {
            let second = signals.watch(interrupted.clone());
            tokio::select! { () = interrupted.cancelled() => {}, () = second => {} }
        } => Ok(Outcome::Killed),
    }
}

async fn show(options: DemoOptions, shutdown: CancellationToken) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir().context("cannot make a directory for Redis")?;
    let server = RedisServer::start(
        dir.path(),
        server::free_port()?,
        &["--save", "", "--appendonly", "no"],
    )
    .await?;
    let mut redis = server.connect().await?;
    let letters = letters::make(options.letters);
    deliver(&mut redis, &letters).await?;

    // As many as there are letters that need it, so that about each of them fails once more.
    let outage = letters
        .iter()
        .filter(|letter| letter.needs_database())
        .count();
    let began = Instant::now();
    let moogsoft = Moogsoft::down_for(OUTAGE);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let config = config(&server, listener.local_addr()?, options.keep)?;
    let _flushed_at_the_end = options
        .logs
        .then(|| crate::telemetry::start(&config.telemetry));
    let app = App::start(config)?;
    let (health, metrics) = (app.health_address().port(), app.metrics_address().port());
    let console = app
        .api_address()
        .map(|api| format!("http://{api}/console/"));
    say(&format!(
        "{} dead letters of {} kinds lie in {SOURCE}.\n\
         Moogsoft is down at first, the alerter's database for the first {outage} attempts.\n\
         health  http://127.0.0.1:{health}/health\n\
         metrics http://127.0.0.1:{metrics}/metrics\n\n",
        letters.len(),
        letters::KINDS.len(),
    ));

    let alerter = Arc::new(Alerter::new(outage));
    let running = shutdown.child_token();
    let watched = async {
        let settled = progress(&mut redis, &alerter, letters.len(), &options);
        let finished = timeout(DEADLINE, settled).await;
        let tally = match finished.context("the demo took too long") {
            Ok(Ok(())) => {
                let tally = Tally::take(&mut redis, &letters, &alerter).await;
                tally.context("the messages cannot be counted")
            }
            Ok(Err(error)) | Err(error) => Err(error),
        };
        if let Ok(tally) = &tally {
            say(&tally.to_string());
        }
        let kept = match (&tally, &console) {
            (Ok(tally), Some(console)) if tally.is_sound() => {
                cli::open(console);
                keep::on(&mut redis, &alerter, console).await
            }
            _ => Ok(()),
        };
        running.cancel();
        kept.and(tally)
    };
    let stage = http::serve(
        listener,
        moogsoft.routes(),
        Limits::default(),
        running.clone(),
    );
    let work = alerter.work(server.connect().await?, running.clone());
    let (ended, (), worked, tally) = tokio::join!(app.run(running.clone()), stage, work, watched);
    ended?;
    worked?;
    let tally = tally?;
    say(&format!(
        "\nin {:.1} s; the throw-away Redis is gone again\n",
        began.elapsed().as_secs_f32()
    ));
    drop(redis);
    server.stop().await?;
    anyhow::ensure!(tally.is_sound(), "a message was lost, doubled or altered");
    Ok(Outcome::Done)
}

fn config(server: &RedisServer, moogsoft: SocketAddr, keep: bool) -> anyhow::Result<Config> {
    let api = if keep { "127.0.0.1" } else { "none" };
    let pairs = [
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", server.port().to_string()),
        ("MOOG_WEBHOOK_URL", format!("http://{moogsoft}/webhook")),
        ("REMEDIATION_INTERVAL", "1".to_owned()),
        ("REMEDIATION_BATCH_SIZE", "50".to_owned()),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0".to_owned()),
        ("REMEDIATION_BATCH_PAUSE_MS", "20".to_owned()),
        (
            "REPLAY_REQUIRED_FIELDS",
            "hostname,timestamp,message".to_owned(),
        ),
        ("METRICS_PORT_REMEDIATION", "0".to_owned()),
        ("HEALTH_PORT_REMEDIATION", "0".to_owned()),
        ("API_BIND_REMEDIATION", api.to_owned()),
        ("API_PORT_REMEDIATION", "0".to_owned()),
        ("POD_NAME", "demo".to_owned()),
    ];
    Ok(Config::load(pairs.map(|(name, text)| {
        (OsString::from(name), OsString::from(text))
    }))?)
}

/// Puts the letters where the alerter would have put them: the first is the oldest.
async fn deliver(redis: &mut MultiplexedConnection, letters: &[Letter]) -> anyhow::Result<()> {
    for part in letters.chunks(500) {
        let bodies: Vec<&[u8]> = part.iter().map(|letter| &letter.bytes[..]).collect();
        let _: i64 = redis::cmd("LPUSH")
            .arg(SOURCE)
            .arg(bodies)
            .query_async(redis)
            .await?;
    }
    Ok(())
}

/// Shows how far it is, until all that was dead is settled.
async fn progress(
    redis: &mut MultiplexedConnection,
    alerter: &Alerter,
    total: usize,
    options: &DemoOptions,
) -> anyhow::Result<()> {
    let bar = ProgressBar::new(total as u64);
    if options.logs || !cli::is_interactive() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} settled, {msg}",
    )?);
    loop {
        let [source, target, processing, dead] = depths(redis).await?;
        bar.set_position((alerter.handled() + dead) as u64);
        bar.set_message(match (alerter.handled() + dead, source) {
            (0, _) => "waiting for Moogsoft".to_owned(),
            (_, left) => format!("{left} in the dead letter queue"),
        });
        if source + target + processing == 0 && alerter.handled() + dead >= total {
            bar.finish_and_clear();
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn depths(redis: &mut MultiplexedConnection) -> anyhow::Result<[usize; 4]> {
    let mut pipeline = redis::pipe();
    pipeline
        .llen(SOURCE)
        .llen(TARGET)
        .llen(PROCESSING)
        .llen(DEAD);
    let (source, target, processing, dead) = pipeline.query_async(redis).await?;
    Ok([source, target, processing, dead])
}

fn say(text: &str) {
    cli::say(&mut std::io::stdout(), text);
}
