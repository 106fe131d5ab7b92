//! Redis away, back, slow, locked, full: the pass ends, the daemon does not.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::{DEAD, Daemon, Proxy, Redis, SOURCE, TARGET, until};

fn failed(reason: &str) -> String {
    format!("mutt_remediation_replay_fail_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn it_starts_before_redis_and_survives_its_absence() {
    let mut redis = Redis::stopped(&["--appendonly", "yes"]);
    let mut daemon = Daemon::start(&redis, &[]);
    daemon
        .until_metric(&failed("unreachable"), |count| count >= 1.0)
        .await;
    let (status, body) = daemon.get("health", "/ready").await;
    assert_eq!(status, 503);
    assert!(
        body.contains("redis cannot be reached: unreachable"),
        "{body}"
    );
    assert_eq!(daemon.get("health", "/health").await, (200, "OK".into()));

    redis.up();
    until("it is ready", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;
    redis.dead_letter(&["{}"]).await;
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;

    redis.kill();
    until("it is not ready", || async {
        daemon.get("health", "/ready").await.0 == 503
    })
    .await;
    redis.up();
    redis.dead_letter(&["{}"]).await;
    until("it is replayed", || async { redis.len(TARGET).await == 2 }).await;
    daemon.until_logged("redis is reached again").await;
    daemon.until_logged("redis works again").await;
    assert!(daemon.is_running());
    let log = daemon.log();
    assert!(
        log.contains("advice=") && log.contains("REDIS_HOST"),
        "{log}"
    );
}

#[tokio::test]
async fn a_black_holed_connection_is_noticed_and_replaced() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port()).await;
    let port = proxy.port().to_string();
    let daemon = Daemon::start_alone(&[
        ("REDIS_PORT", &port),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_TIMEOUT", "1"),
    ]);
    redis.dead_letter(&["{}"]).await;
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
    proxy.black_hole_existing();
    redis.dead_letter(&["{}"]).await;
    until("it is replayed", || async { redis.len(TARGET).await == 2 }).await;
    daemon.until_logged("redis cannot be reached").await;
    daemon.until_logged("timed out").await;
    until("it is ready", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_no_list_is_named_with_its_type() {
    for key in [SOURCE, TARGET, DEAD] {
        let redis = Redis::start();
        if key != SOURCE {
            redis.dead_letter(&["{}", "x"]).await;
        }
        redis.command::<()>(&["SET", key, "text"]).await;
        let mut daemon = Daemon::start(&redis, &[]);
        daemon
            .until_logged(&format!("key {key} holds a string, expected a list"))
            .await;
        daemon
            .until_metric(&failed("wrong_type"), |count| count >= 1.0)
            .await;
        assert!(daemon.is_running());
        if key == SOURCE {
            continue;
        }
        assert_eq!(redis.len(SOURCE).await, 2, "nothing moved, nothing lost");
        redis.command::<i64>(&["DEL", key]).await;
        until("it drains", || async { redis.len(SOURCE).await == 0 }).await;
        assert_eq!((redis.len(TARGET).await, redis.len(DEAD).await), (1, 1));
    }
}

#[tokio::test]
async fn at_maxmemory_nothing_moves_until_there_is_room() {
    let redis = Redis::with(&["--maxmemory-policy", "noeviction"]);
    redis
        .dead_letter(&vec![format!(r#"{{"m":"{}"}}"#, "x".repeat(1_000)); 100])
        .await;
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    let daemon = Daemon::start(&redis, &[("REMEDIATION_BATCH_SIZE", "100")]);
    daemon
        .until_metric(&failed("out_of_memory"), |count| count >= 1.0)
        .await;
    daemon.until_logged("Redis is at maxmemory").await;
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (100, 0));
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    until("it drains", || async { redis.len(TARGET).await == 100 }).await;
    assert_eq!(redis.len(SOURCE).await, 0);
}

#[tokio::test]
async fn a_read_only_replica_is_reported_and_nothing_is_lost() {
    let primary = Redis::start();
    primary.dead_letter(&["{}"]).await;
    let port = primary.port().to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    until("it has replicated", || async {
        replica.len(SOURCE).await == 1
    })
    .await;
    let daemon = Daemon::start(&replica, &[]);
    daemon
        .until_metric(&failed("read_only"), |count| count >= 1.0)
        .await;
    daemon.until_logged("point REDIS_HOST at the primary").await;
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    until("it drains", || async { replica.len(TARGET).await == 1 }).await;
}

#[tokio::test]
async fn a_flushed_script_cache_is_filled_again_without_a_failure() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    for number in 1..=3 {
        redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
        redis.dead_letter(&["{}"]).await;
        until("it is replayed", || async {
            redis.len(TARGET).await == number
        })
        .await;
    }
    assert_eq!(daemon.metric(&failed("no_script")).await, Some(0.0));
}

#[tokio::test]
async fn the_next_password_is_tried_when_the_first_is_refused() {
    let redis = Redis::with(&["--requirepass", "old"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port());
    let daemon = Daemon::start(
        &redis,
        &[
            ("REDIS_PASSWORD", "old"),
            ("REDIS_PASSWORD_NEXT", "new-secret"),
        ],
    );
    until("it is ready", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;
    let mut admin = redis.connect_to(&url("old")).await;
    let mut send = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command
            .arg(&words[1..])
            .query_async::<redis::Value>(&mut admin)
            .await
            .expect("it works")
    };
    send(&["CONFIG", "SET", "requirepass", "new-secret"]).await;
    send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    send(&["LPUSH", SOURCE, "{}"]).await;
    let mut admin = redis.connect_to(&url("new-secret")).await;
    let mut replayed = 0;
    while replayed == 0 {
        replayed = redis::cmd("LLEN")
            .arg(TARGET)
            .query_async(&mut admin)
            .await
            .expect("it works");
    }
    daemon
        .until_logged("redis accepted REDIS_PASSWORD_NEXT")
        .await;
    assert!(!daemon.log().contains("new-secret"));
}

#[tokio::test]
async fn a_missing_or_wrong_password_is_reported_without_showing_it() {
    for variables in [&[][..], &[("REDIS_PASSWORD", "wrong-secret")]] {
        let redis = Redis::with(&["--requirepass", "right"]);
        let mut daemon = Daemon::start(&redis, variables);
        daemon
            .until_metric(&failed("auth"), |count| count >= 1.0)
            .await;
        daemon
            .until_logged("check REDIS_USERNAME and REDIS_PASSWORD")
            .await;
        assert_eq!(daemon.get("health", "/ready").await.0, 503);
        assert!(!daemon.log().contains("wrong-secret"));
        assert!(daemon.is_running());
    }
}

#[tokio::test]
async fn an_acl_user_needs_no_more_than_the_docs_say() {
    let redis = Redis::start();
    let docs = std::fs::read_to_string("docs/configuration.md").expect("the page exists");
    let rule = docs
        .lines()
        .find_map(|line| line.trim().strip_prefix("ACL SETUSER mutt-remediation "));
    let rule = rule
        .expect("an ACL rule")
        .replace("<password>", "secret")
        .replace(['\'', '"'], "");
    let mut words = vec!["ACL", "SETUSER", "worker"];
    words.extend(rule.split_whitespace());
    redis.command::<()>(&words).await;
    allow_setinfo(&redis).await;
    redis
        .command::<()>(&["SET", "mutt:config:remediation_batch_size", "7"])
        .await;
    redis.dead_letter(&["{}"; 9]).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REDIS_USERNAME", "worker"),
            ("REDIS_PASSWORD", "secret"),
            ("POD_NAME", "pod-7"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
            ("LOG_LEVEL", "DEBUG"),
        ],
    );
    until("it drains", || async { redis.len(TARGET).await == 9 }).await;
    daemon.until_logged("settings changed").await;
    let clients: String = redis.command(&["CLIENT", "LIST"]).await;
    assert!(clients.contains("name=pod-7"), "{clients}");
    redis
        .command::<i64>(&["PUBLISH", "mutt:config:updates", "x"])
        .await;
    let log: Vec<Vec<redis::Value>> = redis.command(&["ACL", "LOG"]).await;
    assert!(log.is_empty(), "{log:?}");
}

/// As the page says, where the server knows that command: from Redis 7.2 on.
pub(crate) async fn allow_setinfo(redis: &Redis) {
    let words = ["ACL", "SETUSER", "worker", "+client|setinfo"];
    let answer = redis.try_command::<()>(&words).await;
    let known = redis
        .try_command::<redis::Value>(&["CLIENT", "SETINFO", "LIB-NAME", "test"])
        .await;
    assert_eq!(answer.is_ok(), known.is_ok());
}

/// A daemon whose user may do anything but this.
async fn without(redis: &Redis, denied: &str) -> Daemon {
    let acl = "ACL SETUSER worker on >secret ~* &* +@all".split(' ');
    let words: Vec<&str> = acl.chain([denied]).collect();
    redis.command::<()>(&words).await;
    let worker = [
        ("REDIS_USERNAME", "worker"),
        ("REDIS_PASSWORD", "secret"),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ("REMEDIATION_BATCH_PAUSE_MS", "0"),
    ];
    Daemon::start(redis, &worker)
}

#[tokio::test]
async fn a_user_who_may_not_push_is_told_and_nothing_is_lost() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let daemon = without(&redis, "-lpush").await;
    daemon
        .until_metric(&failed("no_permission"), |count| count >= 1.0)
        .await;
    assert_eq!(redis.len(SOURCE).await, 1);
    redis
        .command::<()>(&["ACL", "SETUSER", "worker", "+lpush"])
        .await;
    until("it drains", || async { redis.len(TARGET).await == 1 }).await;
}

pub(crate) struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        Self {
            issuer: issuer.expect("an issuer"),
        }
    }

    pub(crate) fn write(&self, dir: &Path, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".into(), "127.0.0.1".into()];
        let mut params = CertificateParams::new(names).expect("good names");
        // A subject like the issuer's would make it look self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let path = |kind| dir.join(format!("{name}.{kind}"));
        std::fs::write(path("crt"), cert.pem()).expect("written");
        std::fs::write(path("key"), key.serialize_pem()).expect("written");
        let text = |kind| path(kind).to_str().expect("text").to_owned();
        (text("crt"), text("key"))
    }

    pub(crate) fn authority(&self, dir: &Path) -> String {
        let path = dir.join("ca.crt");
        std::fs::write(&path, self.issuer.pem()).expect("written");
        path.to_str().expect("text").to_owned()
    }
}

#[tokio::test]
async fn tls_with_an_own_authority_and_client_certificates() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let ca = certificates.authority(dir.path());
    let (cert, key) = certificates.write(dir.path(), "server");
    let (client_cert, client_key) = certificates.write(dir.path(), "client");
    let port = mutt_remediation::demo::server::free_port()
        .expect("a port")
        .to_string();
    let redis = Redis::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "yes",
    ]);
    // The plain port of the same server is for the test's own look.
    let plain: Vec<String> = redis.command(&["CONFIG", "GET", "port"]).await;
    assert_ne!(plain[1], "0");
    redis.dead_letter(&["{}"]).await;
    let tls = [
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &*port),
        ("REDIS_TLS_ENABLED", "true"),
        ("REDIS_CA_CERT_PATH", &*ca),
    ];
    let refused = Daemon::start_alone(&tls);
    refused
        .until_metric(&failed("unreachable"), |count| count >= 1.0)
        .await;
    assert_eq!(
        redis.len(SOURCE).await,
        1,
        "without a certificate there is no way in"
    );
    drop(refused);

    let mut with_client = tls.to_vec();
    with_client.extend([
        ("REDIS_TLS_CLIENT_CERT", &*client_cert),
        ("REDIS_TLS_CLIENT_KEY", &*client_key),
    ]);
    let accepted = Daemon::start_alone(&with_client);
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
    drop(accepted);

    // Another authority does not vouch for this server.
    let other = tempfile::tempdir().expect("a directory");
    with_client[3].1 = Box::leak(Certificates::new().authority(other.path()).into_boxed_str());
    let wary = Daemon::start_alone(&with_client);
    wary.until_logged("certificate").await;
    wary.until_metric(&failed("unreachable"), |count| count >= 1.0)
        .await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_stops_the_start() {
    let mut daemon = Daemon::start_alone(&[
        ("REDIS_TLS_ENABLED", "true"),
        ("REDIS_CA_CERT_PATH", "/nowhere/ca.crt"),
    ]);
    assert_eq!(daemon.ended().await.code(), Some(2));
    assert!(
        daemon.errors().contains("cannot read /nowhere/ca.crt"),
        "{}",
        daemon.errors()
    );
}

#[tokio::test]
async fn a_user_who_may_not_trim_pushes_nothing_either() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let daemon = without(&redis, "-ltrim").await;
    daemon
        .until_metric(&failed("no_permission"), |count| count >= 2.0)
        .await;
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (1, 0));
}

/// What the end of a commit needs must be there before anything is pushed.
#[tokio::test]
async fn a_user_or_server_that_cannot_end_a_commit_pushes_nothing() {
    for denied in ["-type", "-lindex", "-lpush"] {
        let redis = Redis::start();
        redis.dead_letter(&["{}", "x"]).await;
        let daemon = without(&redis, denied).await;
        daemon
            .until_metric(&failed("no_permission"), |count| count >= 2.0)
            .await;
        assert_eq!(redis.len(SOURCE).await, 2, "{denied}");
        assert_eq!(
            redis.len(TARGET).await + redis.len(DEAD).await,
            0,
            "{denied}"
        );
    }
    for renamed in ["LINDEX", "TYPE", "MULTI", "EXEC", "LTRIM"] {
        let redis = Redis::with(&["--appendonly", "yes", "--rename-command", renamed, "gone"]);
        redis.dead_letter(&["{}", "x"]).await;
        let daemon = Daemon::start(&redis, &[("REMEDIATION_INTERVAL", "1")]);
        until("it fails", || async {
            let reasons = ["unsupported", "redis_error"].map(failed);
            let [one, other] = reasons.each_ref().map(|reason| daemon.metric(reason));
            one.await.unwrap_or(0.0) + other.await.unwrap_or(0.0) >= 2.0
        })
        .await;
        assert_eq!(redis.len(SOURCE).await, 2, "{renamed}");
        assert_eq!(
            redis.len(TARGET).await + redis.len(DEAD).await,
            0,
            "{renamed}"
        );
    }
}

#[tokio::test]
async fn a_refused_transaction_costs_no_connection_a_batch() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 500]).await;
    let daemon = without(&redis, "-watch").await;
    daemon
        .until_metric("mutt_remediation_replay_success_total", |n| n == 500.0)
        .await;
    let made: String = redis.command(&["INFO", "stats"]).await;
    let made = made
        .lines()
        .find_map(|line| line.strip_prefix("total_connections_received:"))
        .expect("a count");
    // 50 batches; the drain, the survey, and this test's own.
    assert!(made.parse::<u32>().expect("a number") < 20, "{made}");
}

#[tokio::test]
async fn where_transactions_are_refused_every_batch_is_compared() {
    for denied in ["-multi", "-exec", "-watch", "-discard", "-unwatch", "-eval"] {
        let redis = Redis::start();
        redis.dead_letter(&["{}", "x", "{}"]).await;
        let daemon = without(&redis, denied).await;
        until("it drains", || async { redis.len(SOURCE).await == 0 }).await;
        redis.dead_letter(&["{}"]).await;
        until("it drains again", || async { redis.len(SOURCE).await == 0 }).await;
        assert_eq!(
            (redis.len(TARGET).await, redis.len(DEAD).await),
            (3, 1),
            "{denied}"
        );
        assert_eq!(
            daemon.metric(&failed("conflict")).await,
            Some(0.0),
            "{denied}"
        );
        daemon
            .until_metric("mutt_remediation_replay_success_total", |n| n == 3.0)
            .await;
    }
}

#[tokio::test]
async fn a_line_that_went_stale_between_passes_is_no_outage() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    for number in 1..=3 {
        redis
            .command::<i64>(&["CLIENT", "KILL", "TYPE", "normal"])
            .await;
        redis.dead_letter(&["{}"]).await;
        until("it is replayed", || async {
            redis.len(TARGET).await == number
        })
        .await;
    }
    assert_eq!(daemon.metric(&failed("unreachable")).await, Some(0.0));
}

#[tokio::test]
async fn a_slow_line_gets_smaller_batches_until_they_fit() {
    let redis = Redis::start();
    let letter = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
    redis.dead_letter(&vec![letter; 400]).await;
    let proxy = Proxy::before(redis.port()).await;
    // 4 MB a batch there and back at 1 MB a second is more than the second that it may take.
    proxy.limit_bytes_per_second(1_000_000);
    let port = proxy.port().to_string();
    let daemon = Daemon::start_alone(&[
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_TIMEOUT", "1"),
        ("REMEDIATION_BATCH_SIZE", "400"),
    ]);
    daemon
        .until_metric(&failed("timeout"), |count| count >= 1.0)
        .await;
    until("some are replayed", || async {
        redis.len(TARGET).await > 0
    })
    .await;
    assert_eq!(redis.len(SOURCE).await + redis.len(TARGET).await, 400);
}

#[tokio::test]
async fn after_a_stall_the_batches_grow_back_within_the_pass() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 5_000]).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REDIS_TIMEOUT", "1"),
            ("REMEDIATION_BATCH_SIZE", "500"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_PAUSE_MS", "100"),
        ],
    );
    until("it drains", || async { redis.len(TARGET).await > 0 }).await;
    redis
        .command::<()>(&["CLIENT", "PAUSE", "5000", "ALL"])
        .await;
    daemon
        .until_metric(&failed("timeout"), |count| count >= 1.0)
        .await;
    until("it has drained", || async { redis.len(SOURCE).await == 0 }).await;
    assert_eq!(redis.len(TARGET).await, 5_000);
}

#[tokio::test]
async fn a_server_that_could_not_load_its_log_after_a_script_is_left_alone() {
    let redis = Redis::with(&["--rename-command", "MULTI", ""]);
    redis.dead_letter(&["{}"]).await;
    let daemon = Daemon::start(&redis, &[]);
    daemon
        .until_logged("MULTI or EXEC is renamed on this server")
        .await;
    daemon
        .until_metric(&failed("unsupported"), |count| count >= 1.0)
        .await;
    assert_eq!(redis.len(SOURCE).await, 1);
}
