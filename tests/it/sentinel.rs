//! The primary is named by sentinels, dies, and another one takes its place.
//!
//! What is promised when asynchronous replication loses what the old primary did last: its commits
//! are undone as a whole, from the last one backwards. Their messages lie in the source again and
//! are moved once more. Who had read one of them from the old primary sees it twice; none is lost.

use std::collections::BTreeSet;

use crate::connection::Certificates;
use crate::faults::letters;
use crate::support::{
    DEAD, Daemon, MASTER, Redis, SOURCE, Sentinel, Stuck, TARGET, Watched, until,
};

const BATCH: usize = 50;

fn failed(reason: &str) -> String {
    format!("mutt_remediation_replay_fail_total{{reason=\"{reason}\"}}")
}

fn number(letter: &str) -> usize {
    let digits = letter.chars().skip_while(|c| !c.is_ascii_digit());
    let id: String = digits.take_while(char::is_ascii_digit).collect();
    id.parse().expect("a number")
}

async fn numbers(redis: &Redis, list: &str) -> Vec<usize> {
    let texts = redis.texts(list).await;
    texts.iter().map(|text| number(text)).collect()
}

/// A daemon that drains without end in batches of 50, on the primary that these sentinels name.
fn start(sentinels: &str, more: &[(&str, &str)]) -> Daemon {
    let mut variables = vec![
        ("REDIS_SENTINELS", sentinels),
        ("REDIS_SENTINEL_MASTER", MASTER),
        ("REDIS_TIMEOUT", "20"),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ("REMEDIATION_BATCH_SIZE", "50"),
        ("REMEDIATION_BATCH_PAUSE_MS", "5"),
    ];
    variables.extend(more);
    Daemon::start_alone(&variables)
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Takes messages from the target as the alerter does, until the server dies; returns the numbers
/// of those that it has seen.
async fn consume(port: u16) -> BTreeSet<usize> {
    let client = redis::Client::open(("127.0.0.1", port)).expect("a good address");
    let mut line = client
        .get_multiplexed_async_connection()
        .await
        .expect("it is up");
    let mut seen = BTreeSet::new();
    loop {
        let taken = redis::cmd("RPOP").arg(TARGET).query_async(&mut line).await;
        match taken {
            Ok(Some(text)) => {
                let text: String = text;
                assert!(seen.insert(number(&text)), "{text} twice on one server");
            }
            Ok(None) => crate::support::wait::pause().await,
            Err(_) => return seen,
        }
    }
}

#[tokio::test]
async fn a_failover_in_mid_drain_brings_whole_batches_back_and_loses_nothing() {
    let mut set = Watched::start().await;
    let letters = letters(20_000);
    set.primary().dead_letter(&letters).await;
    let alerter = tokio::spawn(consume(set.primary().port()));
    let more = [
        ("DYNAMIC_CONFIG_ENABLED", "true"),
        ("REMEDIATION_BATCH_PAUSE_MS", "20"),
    ];
    let daemon = start(&set.addresses(), &more);
    let left = async |at_most: usize| {
        let mut left = usize::MAX;
        while left > at_most {
            left = set.primary().len(SOURCE).await;
            crate::support::wait::pause().await;
        }
        left
    };
    let replicated = letters.len() - left(17_000).await;
    set.cut_replicas_off().await;
    let at_cut = set.primary().len(SOURCE).await;
    let moved = letters.len() - left(at_cut.saturating_sub(500)).await;

    set.servers[0].kill();
    // So that what the new primary holds can be looked at before the worker goes on.
    daemon.signal("-STOP");
    let seen = alerter.await.expect("it ended");
    let successor = set.successor().await;
    let source = numbers(successor, SOURCE).await;
    let first = source[0];
    assert_eq!(source, (first..letters.len()).collect::<Vec<_>>());
    assert_eq!(first % BATCH, 0, "commits come back as a whole");
    assert!(first >= replicated, "what was replicated stays moved");
    assert!(first < moved, "what was not is undone");

    daemon.signal("-CONT");
    until("the new primary is drained", || async {
        successor.len(SOURCE).await == 0
    })
    .await;
    let mut found = numbers(successor, TARGET).await;
    found.extend(numbers(successor, DEAD).await);
    let once: BTreeSet<usize> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "each is in one list at most");
    let lost: Vec<usize> = (0..letters.len())
        .filter(|id| !once.contains(id) && !seen.contains(id))
        .collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    // Of those that the alerter had seen, all that were brought back are there again.
    let again = |id: &&usize| **id >= first;
    assert!(seen.iter().filter(again).all(|id| once.contains(id)));
    daemon.until_logged("the primary has changed").await;
    daemon.until_logged("redis is reached again").await;

    // The settings and their subscription have moved too.
    successor
        .command::<()>(&["SET", "mutt:config:remediation_batch_size", "7"])
        .await;
    until("somebody listens", || async {
        let words = ["PUBLISH", "mutt:config:updates", "x"];
        successor.command::<i64>(&words).await == 1
    })
    .await;
    daemon.until_logged("settings changed").await;
    until("it is ready", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn with_a_replica_to_wait_for_a_failover_brings_back_one_batch_at_most() {
    let mut set = Watched::start().await;
    let letters = letters(20_000);
    set.primary().dead_letter(&letters).await;
    let wait = [
        ("REDIS_WAIT_REPLICAS", "1"),
        ("REDIS_WAIT_TIMEOUT_MS", "500"),
    ];
    let daemon = start(&set.addresses(), &wait);
    until("it drains", || async {
        set.primary().len(SOURCE).await < 17_000
    })
    .await;
    set.cut_replicas_off().await;
    daemon
        .until_metric(&failed("replicas_behind"), |count| count >= 2.0)
        .await;
    let moved = letters.len() - set.primary().len(SOURCE).await;

    set.servers[0].kill();
    daemon.signal("-STOP");
    let successor = set.successor().await;
    let first = letters.len() - successor.len(SOURCE).await;
    assert!(first + BATCH >= moved, "{first} of {moved} are left moved");
    daemon.signal("-CONT");
    until("the new primary is drained", || async {
        successor.len(SOURCE).await == 0
    })
    .await;
    let mut found = numbers(successor, TARGET).await;
    found.extend(numbers(successor, DEAD).await);
    found.sort_unstable();
    assert_eq!(found, (0..letters.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replica_that_stands_still_stops_the_drain_after_one_batch() {
    let primary = Redis::with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    let wait = [
        ("REDIS_WAIT_REPLICAS", "1"),
        ("REDIS_WAIT_TIMEOUT_MS", "300"),
        ("REMEDIATION_BATCH_SIZE", "10"),
    ];
    until("the replica follows", || async {
        let info: String = primary.command(&["INFO", "replication"]).await;
        info.contains("state=online")
    })
    .await;
    primary.dead_letter(&["{}"; 30]).await;
    let daemon = Daemon::start(&primary, &wait);
    until("it drains", || async { primary.len(TARGET).await == 30 }).await;
    // By then the replica has the last batch, too.
    let empty = "mutt_remediation_passes_total{outcome=\"empty\",source=\"alerter\"}";
    daemon.until_metric(empty, |count| count >= 1.0).await;

    replica.signal("-STOP");
    primary.dead_letter(&["{}"; 30]).await;
    daemon
        .until_metric("mutt_remediation_wait_short_total", |count| count == 1.0)
        .await;
    daemon.until_logged("0 of 1 replicas had it within").await;
    daemon
        .until_metric(&failed("replicas_behind"), |count| count >= 3.0)
        .await;
    assert_eq!(
        (primary.len(SOURCE).await, primary.len(TARGET).await),
        (20, 40)
    );
    drop(daemon);

    // A new worker does not know of that batch, and begins none before it is replicated.
    let daemon = Daemon::start(&primary, &wait);
    daemon
        .until_metric(&failed("replicas_behind"), |count| count >= 2.0)
        .await;
    assert_eq!(primary.len(TARGET).await, 40);
    replica.signal("-CONT");
    until("it drains", || async { primary.len(TARGET).await == 60 }).await;
    daemon.until_logged("redis works again").await;
}

#[tokio::test]
async fn without_the_replicas_to_wait_for_nothing_is_moved() {
    let redis = Redis::start();
    let wait = [
        ("REDIS_WAIT_REPLICAS", "1"),
        ("REDIS_WAIT_TIMEOUT_MS", "50"),
    ];
    let daemon = Daemon::start(&redis, &wait);
    let empty = "mutt_remediation_passes_total{outcome=\"empty\",source=\"alerter\"}";
    daemon.until_metric(empty, |count| count >= 1.0).await;
    assert_eq!(
        daemon.metric(&failed("replicas_behind")).await,
        Some(0.0),
        "nothing to move needs no replicas"
    );
    redis.dead_letter(&["{}"]).await;
    daemon
        .until_metric(&failed("replicas_behind"), |count| count >= 2.0)
        .await;
    daemon.until_logged("lower REDIS_WAIT_REPLICAS").await;
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn a_name_that_the_sentinels_do_not_know_is_told() {
    let redis = Redis::start();
    let mut sentinel = Sentinel::stopped(redis.port(), 1, &[]);
    sentinel.up().await;
    let sentinels = address(sentinel.port());
    let mut daemon = start(&sentinels, &[("REDIS_SENTINEL_MASTER", "other")]);
    daemon
        .until_metric(&failed("no_primary"), |count| count >= 1.0)
        .await;
    let told = format!("sentinel {sentinels}: knows no primary named \"other\"");
    daemon.until_logged(&told).await;
    daemon.until_logged("check REDIS_SENTINEL_MASTER").await;
    let (status, body) = daemon.get("health", "/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("no_primary"), "{body}");
    assert!(daemon.is_running());
}

#[tokio::test]
async fn sentinels_and_servers_have_passwords_of_their_own() {
    let redis = Redis::with(&["--requirepass", "data-secret"]);
    let auth = format!("sentinel auth-pass {MASTER} data-secret");
    let mut sentinel = Sentinel::stopped(redis.port(), 1, &[&auth, "requirepass sentinel-secret"]);
    sentinel.up().await;
    let sentinels = address(sentinel.port());
    let url = format!("redis://:data-secret@{}", address(redis.port()));
    let mut admin = redis.connect_to(&url).await;
    let mut push = redis::cmd("LPUSH");
    push.arg(SOURCE).arg("{}");
    let () = push.query_async(&mut admin).await.expect("it works");

    let data = ("REDIS_PASSWORD", "data-secret");
    for (variables, told) in [
        (vec![data], "sentinel 127.0.0.1"),
        (
            vec![data, ("REDIS_SENTINEL_PASSWORD", "wrong-secret")],
            "sentinel 127.0.0.1",
        ),
        (
            vec![("REDIS_SENTINEL_PASSWORD", "sentinel-secret")],
            "which sentinel 127.0.0.1",
        ),
    ] {
        let daemon = start(&sentinels, &variables);
        daemon
            .until_metric(&failed("auth"), |count| count >= 1.0)
            .await;
        daemon.until_logged(told).await;
        daemon.until_logged("REDIS_SENTINEL_PASSWORD").await;
        assert!(!daemon.log().contains("secret"), "{}", daemon.log());
    }

    let right = [data, ("REDIS_SENTINEL_PASSWORD", "sentinel-secret")];
    let daemon = start(&sentinels, &right);
    let mut replayed = 0;
    while replayed == 0 {
        let mut length = redis::cmd("LLEN");
        length.arg(TARGET);
        replayed = length.query_async(&mut admin).await.expect("it works");
    }
    daemon.until_logged("sentinel names the primary").await;
    assert!(!daemon.log().contains("secret"), "{}", daemon.log());
}

#[tokio::test]
async fn it_starts_before_the_sentinels_and_needs_one_of_them() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let dead = Sentinel::stopped(redis.port(), 1, &[]);
    let mut late = Sentinel::stopped(redis.port(), 1, &[]);
    let sentinels = format!("{},{}", address(dead.port()), address(late.port()));
    let daemon = start(&sentinels, &[]);
    daemon
        .until_metric(&failed("unreachable"), |count| count >= 1.0)
        .await;
    daemon.until_logged("or REDIS_SENTINELS").await;
    assert_eq!(daemon.get("health", "/health").await.0, 200);
    late.up().await;
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
    until("it is ready", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_sentinel_that_names_a_replica_is_not_believed() {
    let primary = Redis::with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    primary.dead_letter(&["{}"]).await;
    until("it has replicated", || async {
        replica.len(SOURCE).await == 1
    })
    .await;
    let stale = Stuck::sentinel(replica.port());
    let alone = start(&address(stale.port()), &[]);
    alone
        .until_metric(&failed("no_primary"), |count| count >= 1.0)
        .await;
    alone.until_logged("is no primary, its role is slave").await;
    drop(alone);

    let right = Stuck::sentinel(primary.port());
    let both = format!("{},{}", address(stale.port()), address(right.port()));
    let asked = stale.asked();
    let daemon = start(&both, &[]);
    until("it is replayed", || async {
        primary.len(TARGET).await == 1
    })
    .await;
    assert_eq!(daemon.metric(&failed("no_primary")).await, Some(0.0));
    assert!(stale.asked() > asked, "it was asked first");

    until("the survey has found it too", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;

    // On a new connection the one that was right is asked first.
    let asked = stale.asked();
    primary
        .command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    primary.dead_letter(&["{}"]).await;
    until("it is replayed", || async {
        primary.len(TARGET).await == 2
    })
    .await;
    assert_eq!(stale.asked(), asked);
}

#[tokio::test]
async fn with_tls_the_sentinels_are_spoken_to_by_tls_as_well() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let ca = certificates.authority(dir.path());
    let (cert, key) = certificates.write(dir.path(), "server");
    let port = mutt_remediation::demo::server::free_port().expect("a port");
    let tls_port = port.to_string();
    let redis = Redis::with(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]);
    let mut sentinel = Sentinel::stopped(
        port,
        1,
        &[
            "tls-port PORT",
            "port 0",
            "tls-replication yes",
            "tls-auth-clients no",
            &format!("tls-cert-file {cert}"),
            &format!("tls-key-file {key}"),
            &format!("tls-ca-cert-file {ca}"),
        ],
    );
    sentinel.up().await;
    redis.dead_letter(&["{}"]).await;
    let sentinels = address(sentinel.port());
    let plain = start(&sentinels, &[]);
    plain
        .until_metric(&failed("unreachable"), |count| count >= 1.0)
        .await;
    drop(plain);
    assert_eq!(redis.len(SOURCE).await, 1);
    let tls = [("REDIS_TLS_ENABLED", "true"), ("REDIS_CA_CERT_PATH", &*ca)];
    let _daemon = start(&sentinels, &tls);
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
}

#[tokio::test]
async fn a_user_needs_role_with_sentinels_and_wait_with_replicas() {
    let redis = Redis::start();
    let mut sentinel = Sentinel::stopped(redis.port(), 1, &[]);
    sentinel.up().await;
    let sentinels = address(sentinel.port());
    redis.dead_letter(&["{}"]).await;
    let acl = "ACL SETUSER worker on >secret ~* &* +@all -role -wait";
    let words: Vec<&str> = acl.split(' ').collect();
    redis.command::<()>(&words).await;
    let worker = [
        ("REDIS_USERNAME", "worker"),
        ("REDIS_PASSWORD", "secret"),
        ("REDIS_WAIT_REPLICAS", "1"),
    ];
    for missing in ["role", "wait"] {
        let daemon = start(&sentinels, &worker);
        daemon
            .until_logged(&format!("no permissions to run the '{missing}' command"))
            .await;
        assert_eq!(redis.len(SOURCE).await, 1);
        let allow = format!("+{missing}");
        redis
            .command::<()>(&["ACL", "SETUSER", "worker", &allow])
            .await;
    }
    let daemon = start(&sentinels, &worker);
    daemon
        .until_metric(&failed("replicas_behind"), |count| count >= 1.0)
        .await;
}
