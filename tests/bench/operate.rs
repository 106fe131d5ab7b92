//! What the operator's side costs: pages, counts and runs over a long queue, the audit of a drain,
//! and the status that a live view asks for. Prints figures and ratios of one run; nothing fails
//! because a machine is slow.
//!
//! `make operate`, or `cargo bench --bench operate -- --messages 1000000`.

#![expect(clippy::cast_precision_loss, reason = "rates")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time, in a program of its own"
)]

#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod process;
#[expect(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the other benchmarks use the rest; percentiles; it talks to people"
)]
mod support;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use mutt_remediation::config::Config;
use mutt_remediation::operate::Operator;
use mutt_remediation::operate::wire::{
    Action, Filter, PageRequest, PlanRequest, RunRequest, RunView, Who,
};
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;

use support::daemon::Daemon;
use support::redis::{DEAD, Redis, SOURCE, TARGET};
use support::{argument, message, rate, say};

fn main() -> anyhow::Result<()> {
    let messages = argument("--messages").unwrap_or(1_000_000);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bench(messages))
}

async fn bench(messages: usize) -> anyhow::Result<()> {
    let aof = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let redis = Redis::with(&aof);
    let mut line = redis.connect().await;
    let operator = operator(&redis)?;
    say(&format!(
        "{messages} messages of {} bytes, AOF everysec",
        message(0).len()
    ));
    fill(&mut line, 10).await?;
    let ten = page(&redis).await?;
    let _: () = redis::cmd("DEL").arg(SOURCE).query_async(&mut line).await?;
    fill(&mut line, messages).await?;
    let all = page(&redis).await?;
    say("\nthe console's page of a queue, made and sent");
    row("of ten messages", &ms(ten));
    row(
        "of all of them",
        &format!(
            "{}, {:.2} times as long",
            ms(all),
            all.as_secs_f64() / ten.as_secs_f64()
        ),
    );
    looking(&operator, &mut line, messages).await?;
    runs(&operator, &mut line).await?;
    live_view(&operator, &mut line).await?;
    audited(&redis, &mut line, messages).await
}

/// How long a browser waits for the page of a queue: the middle one of some tries.
async fn page(redis: &Redis) -> anyhow::Result<Duration> {
    let variables = [
        ("REMEDIATION_ENABLED", "false"),
        ("API_BIND_REMEDIATION", "127.0.0.1"),
        ("API_PORT_REMEDIATION", "0"),
    ];
    let daemon = Daemon::start(redis, &variables);
    let port = daemon.port("api").await;
    let (address, client) = (
        format!("http://127.0.0.1:{port}/console/queues/alerter"),
        support::daemon::client(),
    );
    let mut times = vec![];
    for _ in 0..21 {
        let began = Instant::now();
        let answer = client.get(&address).send().await?.error_for_status()?;
        let page = answer.text().await?;
        times.push(began.elapsed());
        anyhow::ensure!(page.contains("id=\"selected\""), "the page shows messages");
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

async fn looking(
    operator: &Operator,
    line: &mut MultiplexedConnection,
    messages: usize,
) -> anyhow::Result<()> {
    say("\nlooking");
    watch_slow_commands(line).await?;
    let filter = Filter {
        host: Some(format!("sw-{:06}.example.net", messages / 2)),
        ..Filter::default()
    };
    let first = Instant::now();
    let page = PageRequest::default();
    let page = operator
        .messages("alerter", &Filter::default(), &page)
        .await?;
    row("first page", &ms(first.elapsed()));
    let next = Instant::now();
    let rare = PageRequest::default();
    let found = operator.messages("alerter", &filter, &rare).await?;
    row(
        "first answer to a filter that is rare",
        &format!("{}, {} looked at", ms(next.elapsed()), found.scanned),
    );
    let whole = Instant::now();
    let request = plan_of(Action::Replay, filter.clone());
    let plan = operator.plan("alerter", &request, &who()).await?;
    row(
        "complete count of a filter (one field)",
        &format!(
            "{}, {} of {}",
            ms(whole.elapsed()),
            plan.matched,
            plan.scanned
        ),
    );
    let whole = Instant::now();
    let aged = Filter {
        min_age: Some(60),
        ..Filter::default()
    };
    let plan = operator
        .plan("alerter", &plan_of(Action::Replay, aged), &who())
        .await?;
    row(
        "complete count of a filter (every message read)",
        &format!(
            "{}, {} of {}",
            ms(whole.elapsed()),
            plan.matched,
            plan.scanned
        ),
    );
    let one = &page.messages[0];
    let began = Instant::now();
    operator
        .message("alerter", &one.digest, Some(one.at))
        .await?;
    row("one message", &ms(began.elapsed()));
    slow_commands(line).await
}

async fn runs(operator: &Operator, line: &mut MultiplexedConnection) -> anyhow::Result<()> {
    say("\nruns");
    for (name, text) in [
        ("one in a hundred", "00.example.net"),
        ("one in ten", "0.example.net"),
        ("all that are left", ""),
    ] {
        let filter = Filter {
            text: (!text.is_empty()).then(|| text.to_owned()),
            ..Filter::default()
        };
        watch_slow_commands(line).await?;
        let run = run(operator, "alerter", Action::Bury, filter).await?;
        let (run, took) = run;
        row(
            name,
            &format!(
                "{} of {} in {}, {}",
                run.moved,
                run.scanned,
                ms(took),
                rate(run.moved as f64 / took.as_secs_f64())
            ),
        );
        slow_commands(line).await?;
    }
    let (run, took) = run(operator, "dead", Action::Restore, Filter::default()).await?;
    row("restored", &rate(run.moved as f64 / took.as_secs_f64()));
    Ok(())
}

async fn live_view(operator: &Operator, line: &mut MultiplexedConnection) -> anyhow::Result<()> {
    say("\na live view");
    let calls = 200;
    let before = server_cpu(line).await?;
    for _ in 0..calls {
        operator.status().await;
    }
    let cost = (server_cpu(line).await? - before) / f64::from(calls);
    row(
        "a status, of a core of Redis at one every 2 s",
        &format!("{:.3} %", cost / 2.0 * 100.0),
    );
    Ok(())
}

async fn audited(
    redis: &Redis,
    line: &mut MultiplexedConnection,
    messages: usize,
) -> anyhow::Result<()> {
    say("\nthe audit of a drain");
    let messages = (messages / 5).clamp(1, 200_000);
    let mut runs = [vec![], vec![]];
    for round in 0..6 {
        // By turns, because what comes second finds another server than what comes first.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let kept = ["0", "10000"][which];
            runs[which].push(drained(redis, line, messages, kept).await?);
        }
    }
    let middle = |runs: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [rates, times] = [|run: &(f64, f64)| run.0, |run: &(f64, f64)| run.1]
        .map(|of| [&runs[0], &runs[1]].map(|runs| middle(runs, of)));
    row("drain without an audit, median", &rate(rates[0]));
    row("drain with one, median", &rate(rates[1]));
    row(
        "rate with it, of that without",
        &format!("{:.3}", rates[1] / rates[0]),
    );
    row(
        "processor time with it, of that without",
        &format!("{:.3}", times[1] / times[0]),
    );
    Ok(())
}

fn operator(redis: &Redis) -> anyhow::Result<Operator> {
    let port = redis.port().to_string();
    let pairs = [("REDIS_PORT", port.as_str()), ("POD_NAME", "bench")];
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Ok(Operator::new(&Config::load(pairs)?))
}

fn who() -> Who {
    Who {
        name: "bench".into(),
        from: "bench".into(),
    }
}

fn plan_of(action: Action, filter: Filter) -> PlanRequest {
    PlanRequest {
        action,
        filter,
        limit: None,
        force: false,
    }
}

async fn run(
    operator: &Operator,
    queue: &str,
    action: Action,
    filter: Filter,
) -> anyhow::Result<(RunView, Duration)> {
    let plan = operator
        .plan(queue, &plan_of(action, filter), &who())
        .await?;
    let request = RunRequest {
        token: plan.token,
        ..RunRequest::default()
    };
    let run = operator.start(&request, &who()).await?;
    let began = Instant::now();
    let never = CancellationToken::new();
    let ended = operator.work_at(&run.run, |_| {}, &never).await?;
    anyhow::ensure!(ended.moved == plan.would_move, "{}", ended.summary);
    Ok((ended, began.elapsed()))
}

/// Drains so many messages, and returns the rate and the processor time of daemon and server.
async fn drained(
    redis: &Redis,
    line: &mut MultiplexedConnection,
    messages: usize,
    audit: &str,
) -> anyhow::Result<(f64, f64)> {
    let _: () = redis::cmd("DEL")
        .arg(&[SOURCE, TARGET, DEAD])
        .query_async(line)
        .await?;
    fill(line, messages).await?;
    let server = server_cpu(line).await?;
    let daemon = Daemon::start(
        redis,
        &[
            ("REMEDIATION_BATCH_SIZE", "500"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_AUDIT_LENGTH", audit),
        ],
    );
    until_depth(line, TARGET, 1).await?;
    let began = Instant::now();
    until_depth(line, TARGET, messages).await?;
    let took = began.elapsed();
    let cpu = process::cpu_seconds(daemon.id()) + server_cpu(line).await? - server;
    Ok((messages as f64 / took.as_secs_f64(), cpu))
}

async fn until_depth(
    line: &mut MultiplexedConnection,
    list: &str,
    depth: usize,
) -> anyhow::Result<()> {
    loop {
        let now: usize = redis::cmd("LLEN").arg(list).query_async(line).await?;
        if now >= depth {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn fill(line: &mut MultiplexedConnection, messages: usize) -> anyhow::Result<()> {
    let mut at = 0;
    while at < messages {
        let some = (messages - at).min(1_000);
        let bodies: Vec<String> = (at..at + some).map(message).collect();
        let _: usize = redis::cmd("LPUSH")
            .arg(SOURCE)
            .arg(bodies)
            .query_async(line)
            .await?;
        at += some;
    }
    Ok(())
}

/// Processor time of the server, in seconds.
async fn server_cpu(line: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(line).await?;
    let of = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name));
        found.and_then(|value| value.trim().parse::<f64>().ok())
    };
    let user = of("used_cpu_user:").unwrap_or(0.0);
    Ok(user + of("used_cpu_sys:").unwrap_or(0.0))
}

async fn watch_slow_commands(line: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("slowlog-log-slower-than").arg(1_000);
    set.arg("slowlog-max-len").arg(1_000_000);
    let _: () = set.query_async(line).await?;
    let _: () = redis::cmd("SLOWLOG").arg("RESET").query_async(line).await?;
    Ok(())
}

/// Tells how often Redis was busy with one command for more than a millisecond, and two.
async fn slow_commands(line: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let slow: Vec<redis::Value> = redis::cmd("SLOWLOG")
        .arg("GET")
        .arg(-1)
        .query_async(line)
        .await?;
    let times: Vec<i64> = slow
        .iter()
        .filter_map(|entry| match entry {
            redis::Value::Array(fields) => match fields.get(2) {
                Some(redis::Value::Int(time)) => Some(*time),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let two = times.iter().filter(|time| **time > 2_000).count();
    let worst = times.iter().max().copied().unwrap_or(0);
    row(
        "  commands above 1 ms, above 2 ms, the longest",
        &format!("{}, {two}, {:.1} ms", times.len(), worst as f64 / 1e3),
    );
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

fn row(name: &str, value: &str) {
    say(&format!("{name:<50} {value}"));
}
