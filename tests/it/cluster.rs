//! A real Redis Cluster: one step where the lists share a slot, two where they do not.

use std::collections::HashMap;
use std::time::Duration;

use mutt_remediation::dlq::queue::Queue;
use mutt_remediation::dlq::redis::{Limits, Lists};
use mutt_remediation::dlq::{Committed, Disposition, Reason};
use mutt_remediation::drain::classify::Rules;
use mutt_remediation::drain::plan::{Plan, plan};
use mutt_remediation::link::{self, Address, LinkConfig, Wait};

mod apart;
mod moving;
mod operate;
mod points;
mod shared;

use crate::connection::allow_setinfo;
use crate::support::{Cluster, DEAD, Daemon, Redis, SOURCE, TARGET, until};

const TOGETHER: [&str; 3] = [
    "{mutt}:dlq:alerter",
    "{mutt}:ingest_queue",
    "{mutt}:dlq:dead",
];
const APART: [&str; 3] = [SOURCE, TARGET, DEAD];

fn letters(count: usize) -> Vec<String> {
    let letter = |id| match id % 10 {
        0 => format!(r#"{{"id":{id},"_moog_retry_count":7}}"#),
        1 => format!("no json {id}"),
        _ => format!(
            r#"{{"id":{id},"_retry_count":4,"message":"{}"}}"#,
            "x".repeat(300)
        ),
    };
    (0..count).map(letter).collect()
}

fn daemon(cluster: &Cluster, lists: [&str; 3], more: &[(&str, &str)]) -> Daemon {
    let seeds = cluster.seeds();
    let mut variables = vec![
        ("REDIS_CLUSTER_NODES", &*seeds),
        ("ALERTER_DLQ_NAME", lists[0]),
        ("INGEST_QUEUE_NAME", lists[1]),
        ("DEAD_LETTER_QUEUE", lists[2]),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ("REMEDIATION_BATCH_SIZE", "20"),
        ("REMEDIATION_BATCH_PAUSE_MS", "1"),
        ("REDIS_TIMEOUT", "2"),
    ];
    variables.extend(more);
    Daemon::start_alone(&variables)
}

/// How often each letter lies in one of the lists.
async fn count(cluster: &Cluster, lists: [&str; 3]) -> HashMap<usize, usize> {
    let mut found = HashMap::new();
    for list in lists {
        for text in cluster.texts(list).await {
            let digits = text.chars().skip_while(|c| !c.is_ascii_digit());
            let id: String = digits.take_while(char::is_ascii_digit).collect();
            *found.entry(id.parse().expect("a number")).or_default() += 1;
        }
    }
    found
}

async fn each_once(cluster: &Cluster, lists: [&str; 3], letters: usize) {
    let found = count(cluster, lists).await;
    let lost: Vec<usize> = (0..letters).filter(|id| !found.contains_key(id)).collect();
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "lost {lost:?}, doubled {doubled:?}"
    );
    for text in cluster.texts(lists[2]).await {
        assert!(
            text.contains("_remediation_reason") || text.starts_with("no json"),
            "{text}"
        );
    }
    for text in cluster.texts(lists[1]).await {
        assert!(text.contains("_remediation_count\":1"), "{text}");
    }
}

async fn empty(cluster: &Cluster, list: &str) {
    until("the queue is empty", || async {
        cluster.len(list).await == 0
    })
    .await;
}

fn queue(cluster: &Cluster) -> Queue {
    waiting_queue(cluster, None)
}

fn waiting_queue(cluster: &Cluster, wait: Option<Wait>) -> Queue {
    queue_to(cluster, TARGET, wait)
}

fn queue_to(cluster: &Cluster, target: &str, wait: Option<Wait>) -> Queue {
    queue_of(cluster, [SOURCE, target, DEAD], wait)
}

fn queue_of(cluster: &Cluster, lists: [&str; 3], wait: Option<Wait>) -> Queue {
    let nodes = cluster.seeds();
    let nodes = nodes.split(',').map(|node| {
        let (host, port) = node.split_once(':').expect("host:port");
        Address {
            host: host.into(),
            port: port.parse().expect("a port"),
        }
    });
    let config = LinkConfig {
        url: "redis://localhost".parse().expect("an address"),
        username: None,
        passwords: vec![],
        ca_cert: None,
        client_cert: None,
        client_name: "test".into(),
        timeout: Duration::from_secs(20),
        cluster: nodes.collect(),
        sentinels: None,
        wait,
    };
    let [source, target, dead] = lists.map(str::to_owned);
    let lists = Lists {
        source,
        target,
        dead,
    };
    Queue::new(config, lists).expect("plain names")
}

/// Finishes what was begun, and peeks and plans as many entries.
async fn planned(queue: &mut Queue, entries: u64) -> (Vec<Disposition>, Plan) {
    let finished = queue.finish().await.expect("finished");
    let rules = Rules::alerter();
    let mut whole = Plan::default();
    let limits = Limits {
        entries,
        bytes: 1 << 20,
    };
    let each = |entries| whole.append(plan(entries, &rules, 1_790_000_000));
    queue.peek(limits, each).await.expect("peeked");
    (finished, whole)
}

/// Has the node of a list refuse to write it, with all that is in its slot, or take it again.
async fn writable(cluster: &Cluster, list: &str, may: bool) {
    let node = cluster.at(list).await;
    let others = APART.iter().filter(|other| may || **other != list);
    let patterns = others.flat_map(|other| [format!("~{other}"), format!("~{{{other}}}*")]);
    let mut words = vec!["ACL".into(), "SETUSER".into(), "default".into()];
    words.extend(["resetkeys".to_owned(), "%R~*".into()]);
    words.extend(patterns);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    node.command::<()>(&words).await;
}

/// Has the node of the source refuse to trim, or take it again.
async fn trimming(cluster: &Cluster, rule: &str) {
    trimming_of(cluster, SOURCE, rule).await;
}

async fn trimming_of(cluster: &Cluster, source: &str, rule: &str) {
    let node = cluster.at(source).await;
    let words = ["ACL", "SETUSER", "default", rule];
    node.command::<()>(&words).await;
}

#[tokio::test]
async fn with_a_common_hash_tag_a_batch_moves_in_one_step() {
    let cluster = Cluster::start().await;
    cluster.push(TOGETHER[0], &letters(500)).await;
    let daemon = daemon(&cluster, TOGETHER, &[("DYNAMIC_CONFIG_ENABLED", "true")]);
    empty(&cluster, TOGETHER[0]).await;
    each_once(&cluster, TOGETHER, 500).await;
    let log = daemon.log();
    let way = "a batch moves in one step, because the lists lie in one slot: ";
    assert_eq!(log.matches("a batch moves in").count(), 1, "{log}");
    assert!(log.contains(way), "{log}");
    until("redis is reached", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;

    // Settings lie in slots of their own, and are followed there.
    let key = "mutt:config:remediation_enabled";
    let owner = cluster.at(key).await;
    owner.command::<()>(&["SET", key, "false"]).await;
    owner
        .command::<i64>(&["PUBLISH", "mutt:config:updates", "x"])
        .await;
    daemon.until_logged("settings changed").await;
}

#[tokio::test]
async fn without_one_it_moves_in_two_steps() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(500)).await;
    let daemon = daemon(&cluster, APART, &[]);
    empty(&cluster, SOURCE).await;
    each_once(&cluster, APART, 500).await;
    let log = daemon.log();
    let way = "a batch moves in two steps, a push and a trim, because the lists lie in several slots: mutt:dlq:alerter in slot 12970, ";
    assert_eq!(log.matches("a batch moves in").count(), 1, "{log}");
    assert!(log.contains(way), "{log}");
    let parked = "mutt_remediation_messages_total{disposition=\"dead\",reason=\"malformed\",source=\"alerter\"}";
    daemon.until_metric(parked, |count| count == 50.0).await;
}

#[tokio::test]
async fn a_batch_whose_worker_died_before_the_trim_is_finished_and_not_repeated() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(7)).await;
    let mut dying = queue(&cluster);
    let (_, plan) = planned(&mut dying, 4).await;
    trimming(&cluster, "-ltrim").await;
    dying
        .commit(&plan.transfers)
        .await
        .expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    assert_eq!(
        (cluster.len(SOURCE).await, cluster.len(TARGET).await),
        (7, 2)
    );

    let mut next = queue(&cluster);
    // It would have taken more at a time, and the old end is younger by now.
    let (finished, plan) = planned(&mut next, 5).await;
    let dead = Disposition::Dead;
    let expected = [
        dead(Reason::RetriesExhausted),
        dead(Reason::Malformed),
        Disposition::Replay,
        Disposition::Replay,
    ];
    assert_eq!(finished, expected);
    assert_eq!(plan.transfers.len(), 3);
    let moved = next.commit(&plan.transfers).await.expect("committed");
    assert_eq!(
        moved,
        Committed::Moved {
            replayed: 3,
            dead: 0
        }
    );
    each_once(&cluster, APART, 7).await;
}

#[tokio::test]
async fn a_batch_whose_worker_died_before_it_parked_its_poison_is_finished() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(7)).await;
    let mut dying = queue(&cluster);
    let (_, plan) = planned(&mut dying, 4).await;
    writable(&cluster, DEAD, false).await;
    dying
        .commit(&plan.transfers)
        .await
        .expect_err("it cannot park");
    writable(&cluster, DEAD, true).await;
    assert_eq!((cluster.len(SOURCE).await, cluster.len(DEAD).await), (7, 0));

    let mut next = queue(&cluster);
    assert_eq!(planned(&mut next, 1).await.0.len(), 4);
    assert_eq!((cluster.len(SOURCE).await, cluster.len(DEAD).await), (3, 2));
    let stamped = &cluster.texts(DEAD).await[0];
    assert!(stamped.contains("retries_exhausted"), "{stamped}");
}

#[tokio::test]
async fn poison_that_is_out_of_sight_when_it_is_to_be_parked_stays() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(7)).await;
    let mut dying = queue(&cluster);
    let (_, plan) = planned(&mut dying, 4).await;
    writable(&cluster, DEAD, false).await;
    let committed = dying.commit(&plan.transfers).await;
    committed.expect_err("it cannot park");
    writable(&cluster, DEAD, true).await;
    // Somebody puts letters back at the old end, so that the batch is no longer there.
    let source = cluster.at(SOURCE).await;
    let restored = ["RPUSH", SOURCE, r#"{"id":7}"#, r#"{"id":8}"#, r#"{"id":9}"#];
    let _: i64 = source.command(&restored).await;

    let mut next = queue(&cluster);
    while cluster.len(SOURCE).await > 0 {
        let (_, plan) = planned(&mut next, 3).await;
        next.commit(&plan.transfers).await.expect("answered");
    }
    each_once(&cluster, APART, 10).await;
}

#[tokio::test]
async fn a_worker_that_slept_repeats_nothing() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(10)).await;
    let mut sleeper = queue(&cluster);
    let (_, old) = planned(&mut sleeper, 4).await;
    let mut other = queue(&cluster);
    for _ in 0..2 {
        let (_, plan) = planned(&mut other, 4).await;
        other.commit(&plan.transfers).await.expect("committed");
    }
    let late = sleeper.commit(&old.transfers).await.expect("answered");
    assert_eq!(late, Committed::Conflict);
    assert_eq!(count(&cluster, APART).await.values().max(), Some(&1));
    let (finished, rest) = planned(&mut sleeper, 4).await;
    assert!(finished.is_empty());
    sleeper.commit(&rest.transfers).await.expect("committed");
    each_once(&cluster, APART, 10).await;
}

#[tokio::test]
async fn what_is_taken_between_push_and_trim_leaves_the_rest_moved_once() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(7)).await;
    let mut dying = queue(&cluster);
    let (_, plan) = planned(&mut dying, 4).await;
    trimming(&cluster, "-ltrim").await;
    dying
        .commit(&plan.transfers)
        .await
        .expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    let source = cluster.at(SOURCE).await;
    let taken: String = source.command(&["RPOP", SOURCE]).await;
    planned(&mut queue(&cluster), 1).await;
    assert_eq!(cluster.len(SOURCE).await, 3);
    // It was parked already: a person's copy is one too many, but nothing is lost.
    assert!(taken.contains("\"id\":0"), "{taken}");
    each_once(&cluster, APART, 7).await;
}

#[tokio::test]
async fn entries_survive_kill_minus_nine_between_push_and_trim_or_anywhere() {
    let cluster = Cluster::start().await;
    let letters = letters(3_000);
    cluster.push(SOURCE, &letters).await;
    let mut kills = 0;
    while cluster.len(SOURCE).await > 0 {
        let before = cluster.len(SOURCE).await;
        let first = daemon(&cluster, APART, &[]);
        let second = daemon(&cluster, APART, &[("REMEDIATION_BATCH_SIZE", "7")]);
        let enough = before.saturating_sub(300 + kills * 7);
        until("they have moved some", || async {
            cluster.len(SOURCE).await <= enough
        })
        .await;
        drop((first, second));
        kills += 1;
    }
    assert!(kills > 3, "{kills} kills");
    planned(&mut queue(&cluster), 1).await;
    each_once(&cluster, APART, letters.len()).await;
}

#[tokio::test]
async fn a_failover_of_either_side_between_push_and_trim_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start().await;
    let letters = letters(1_500);
    for list in APART {
        cluster.part(&APART).await;
        cluster.settled().await;
        cluster.push(SOURCE, &letters).await;
        // The letters themselves must have reached the replica before its primary dies.
        cluster.at(SOURCE).await.until_replicated().await;
        let daemon = daemon(&cluster, APART, &[]);
        until("it drains", || async { cluster.len(SOURCE).await < 1_300 }).await;
        let owner = cluster.owner(list).await;
        cluster.node_mut(owner).kill();
        empty(&cluster, SOURCE).await;
        drop(daemon);
        each_once(&cluster, APART, letters.len()).await;

        cluster.node_mut(owner).up();
        cluster.settled().await;
        for list in APART {
            cluster.at(list).await.command::<()>(&["DEL", list]).await;
        }
    }
}

#[tokio::test]
async fn no_batch_is_begun_while_the_replica_of_the_source_lacks_the_last_trim() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &["{}"; 40]).await;
    let wait = Wait {
        replicas: 1,
        timeout: Duration::from_millis(300),
    };
    let elsewhere = "bar";
    assert_ne!(cluster.owner(elsewhere).await, cluster.owner(SOURCE).await);
    let mut first = queue_to(&cluster, elsewhere, Some(wait));
    let (_, batch) = planned(&mut first, 20).await;
    let replica = cluster.node(cluster.replica(SOURCE).await);
    replica.signal("-STOP");
    let moved = first.commit(&batch.transfers).await.expect("moved");
    assert!(matches!(moved, Committed::Moved { replayed: 20, .. }));
    drop(first);

    // A new worker has written nothing yet, and waits for that trim all the same.
    let mut next = queue_to(&cluster, elsewhere, Some(wait));
    let error = next.finish().await.expect_err("the replica stands still");
    assert_eq!(error.link().reason, link::Reason::ReplicasBehind, "{error}");
    replica.signal("-CONT");
    until("the replica has it", || async {
        queue_to(&cluster, elsewhere, Some(wait))
            .finish()
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_slot_may_move_in_the_middle_of_a_drain() {
    let cluster = Cluster::start().await;
    let letters = letters(2_000);
    cluster.push(SOURCE, &letters).await;
    let _daemon = daemon(&cluster, APART, &[]);
    for (list, left) in [(SOURCE, 1_700), (TARGET, 1_300), (SOURCE, 900), (DEAD, 500)] {
        until("it drains", || async { cluster.len(SOURCE).await < left }).await;
        cluster.move_slot(list).await;
    }
    empty(&cluster, SOURCE).await;
    each_once(&cluster, APART, letters.len()).await;
}

#[tokio::test]
async fn that_parking_has_stopped_is_noted_in_the_slot_of_the_source() {
    for lists in [APART, TOGETHER] {
        let cluster = Cluster::start().await;
        let at = jiff::Timestamp::now().as_second() - 60;
        let used_up = format!(r#"{{"_remediation_count":3,"_remediation_at":{at}}}"#);
        cluster.push(lists[0], &vec![used_up; 20]).await;
        let node = cluster.at(lists[0]).await;
        let tag = if lists == APART { SOURCE } else { "mutt" };
        let latch = format!("{{{tag}}}:mutt:remediation:systemic:{}", lists[0]);
        let noted = async || {
            node.command::<Option<i64>>(&["GET", &latch])
                .await
                .is_some()
        };
        let first = daemon(&cluster, lists, &[]);
        until("it is noted", &noted).await;
        drop(first);
        assert_eq!(cluster.len(lists[0]).await, 20);
        let _second = daemon(&cluster, lists, &[("POISON_GUARD_ENABLED", "false")]);
        empty(&cluster, lists[0]).await;
        assert!(!noted().await);
    }
}

#[tokio::test]
async fn an_acl_user_needs_no_more_than_the_docs_say() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(40)).await;
    let page = std::fs::read_to_string("docs/configuration.md").expect("it exists");
    let mut lines = page.lines();
    let rule = lines.find_map(|line| line.strip_prefix("ACL SETUSER mutt-remediation "));
    let rule = rule.expect("a rule").replace("'><password>'", ">secret");
    let more = lines.find(|line| line.contains("with several slots also `"));
    let more = more.expect("more").rsplit('`').nth(1).expect("quoted");
    let mut words = vec!["ACL", "SETUSER", "worker"];
    words.extend(rule.split_whitespace().chain(more.split_whitespace()));
    words.push("+cluster|slots");
    for index in 0..6 {
        cluster.node(index).command::<()>(&words).await;
        allow_setinfo(cluster.node(index)).await;
    }
    let worker = [
        ("REDIS_USERNAME", "worker"),
        ("REDIS_PASSWORD", "secret"),
        ("DYNAMIC_CONFIG_ENABLED", "true"),
    ];
    let _daemon = daemon(&cluster, APART, &worker);
    empty(&cluster, SOURCE).await;
    each_once(&cluster, APART, 40).await;
    for index in 0..6 {
        let log: Vec<redis::Value> = cluster.node(index).command(&["ACL", "LOG"]).await;
        assert!(log.is_empty(), "{log:?}");
    }
}

#[tokio::test]
async fn a_server_without_a_cluster_is_named() {
    let redis = Redis::start();
    let seeds = format!("127.0.0.1:{}", redis.port());
    let daemon = Daemon::start_alone(&[("REDIS_CLUSTER_NODES", &seeds)]);
    daemon
        .until_metric(
            "mutt_remediation_replay_fail_total{reason=\"cluster\"}",
            |n| n > 0.0,
        )
        .await;
    daemon
        .until_logged("REDIS_CLUSTER_NODES must name nodes of a cluster")
        .await;
}
