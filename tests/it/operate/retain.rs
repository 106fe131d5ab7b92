//! Dead lists within bounds.

use super::*;
use crate::support::Daemon;
use crate::support::{Onward, Stepper, Stop};

fn parked(count: usize, dead_at: i64) -> Vec<String> {
    (0..count)
        .map(|i| format!(r#"{{"hostname":"h{i}","_remediation_dead_at":{dead_at}}}"#))
        .collect()
}

async fn evictions(operator: &Operator) -> Vec<BTreeMap<String, String>> {
    let page = operator.audit(&AuditRequest::default()).await;
    let entries = page.expect("an audit").entries.into_iter();
    let fields = entries.map(|entry| entry.fields);
    fields
        .filter(|fields| fields.get("act").is_some_and(|act| act == "evict"))
        .collect()
}

/// How the digests of what was evicted begin, oldest first.
async fn told_digests(operator: &Operator) -> Vec<String> {
    let page = operator.audit(&AuditRequest::default()).await;
    let entries = page.expect("an audit").entries.into_iter().rev();
    entries.flat_map(|entry| entry.digests).collect()
}

#[tokio::test]
async fn without_bounds_a_dead_list_is_left_alone() {
    let redis = Redis::start();
    redis.push(DEAD, &parked(300, 1)).await;
    let daemon = Daemon::start(&redis, &[]);
    let age = r#"mutt_remediation_dead_list_oldest_age_seconds{queue="dead"}"#;
    daemon.until_metric(age, |age| age > 1e9).await;
    assert_eq!(redis.len(DEAD).await, 300);
}

#[tokio::test]
async fn what_is_too_much_goes_to_the_archive_first_and_is_counted_and_told() {
    let redis = Redis::start();
    let mut bodies: Vec<Vec<u8>> = parked(250, 1).into_iter().map(String::into_bytes).collect();
    bodies[3] = b"\xff".to_vec();
    redis.push(DEAD, &bodies).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    let bounds = [("DEAD_LETTER_MAX", "20"), ("DEAD_LETTER_ARCHIVE", path)];
    let daemon = Daemon::start(&redis, &bounds);
    let evicted = r#"mutt_remediation_evicted_total{queue="dead",why="count"}"#;
    daemon.until_metric(evicted, |count| count == 230.0).await;
    assert_eq!(redis.list(DEAD).await, bodies[230..]);
    let file = std::fs::read_dir(directory.path())
        .expect("readable")
        .next();
    let file = file.expect("a file").expect("readable").path();
    let name = file
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert!(name.starts_with("mutt_dlq_dead-20"), "{name}");
    let text = std::fs::read_to_string(&file).expect("readable");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"));
    let lines: Vec<Line> = lines.collect();
    assert_eq!(lines.len(), 230);
    assert_eq!(lines[3].base64.as_deref(), Some("/w=="));
    let operator = operator(&redis);
    let told = evictions(&operator).await;
    let count =
        |fields: &BTreeMap<String, String>| fields["purged"].parse::<u64>().expect("a count");
    assert_eq!(told.iter().map(count).sum::<u64>(), 230);
    let digests = told_digests(&operator).await;
    let wanted = bodies[..230]
        .iter()
        .map(|body| digest(body)[..16].to_owned());
    assert_eq!(digests, wanted.collect::<Vec<_>>());
    // Never silent.
    daemon.until_logged("were evicted").await;

    let imported = operator.import("dead", lines[..2].to_vec(), &who()).await;
    assert_eq!(imported.expect("imported").imported, 2);
}

#[tokio::test]
async fn large_messages_are_archived_once_each() {
    let redis = Redis::start();
    let padding = "x".repeat(3 * 1024 * 1024);
    let body = |i| format!(r#"{{"hostname":"h{i}","padding":"{padding}"}}"#);
    let bodies: Vec<String> = (0..6).map(body).collect();
    redis.push(DEAD, &bodies).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    let bounds = [("DEAD_LETTER_MAX", "1"), ("DEAD_LETTER_ARCHIVE", path)];
    let daemon = Daemon::start(&redis, &bounds);
    let evicted = r#"mutt_remediation_evicted_total{queue="dead",why="count"}"#;
    daemon.until_metric(evicted, |count| count == 5.0).await;
    let file = std::fs::read_dir(directory.path())
        .expect("readable")
        .next();
    let file = file.expect("a file").expect("readable").path();
    let text = std::fs::read_to_string(&file).expect("readable");
    assert_eq!(text.lines().count(), 5);
    assert_eq!(redis.texts(DEAD).await, bodies[5..]);
}

#[tokio::test]
async fn what_is_too_old_goes_to_another_list() {
    let redis = Redis::start();
    let now = jiff::Timestamp::now().as_second();
    redis.push(DEAD, &parked(5, now - 3 * 86_400)).await;
    let young = parked(5, now - 3_600);
    redis.push(DEAD, &young).await;
    let bounds = [
        ("DEAD_LETTER_MAX_AGE_DAYS", "2"),
        ("DEAD_LETTER_ARCHIVE", "list:attic"),
    ];
    let daemon = Daemon::start(&redis, &bounds);
    let evicted = r#"mutt_remediation_evicted_total{queue="dead",why="age"}"#;
    daemon.until_metric(evicted, |count| count == 5.0).await;
    assert_eq!(redis.texts("attic").await, parked(5, now - 3 * 86_400));
    assert_eq!(redis.texts(DEAD).await, young);
}

#[tokio::test]
async fn where_the_archive_cannot_be_written_nothing_is_evicted() {
    let redis = Redis::start();
    redis.push(DEAD, &parked(30, 1)).await;
    let bounds = [
        ("DEAD_LETTER_MAX", "20"),
        ("DEAD_LETTER_ARCHIVE", "/nowhere/at/all"),
    ];
    let daemon = Daemon::start(&redis, &bounds);
    let failed = "mutt_remediation_evict_fail_total";
    daemon.until_metric(failed, |count| count >= 1.0).await;
    assert_eq!(redis.len(DEAD).await, 30);
    daemon.until_logged("/nowhere/at/all").await;
}

#[tokio::test]
async fn a_dead_list_without_bounds_costs_no_more_than_its_oldest_message() {
    let redis = Redis::start();
    redis.push(DEAD, &parked(1, 1)).await;
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(3_000_000));
    redis.push(DEAD, &vec![large; 30]).await;
    let daemon = Daemon::start(&redis, &[]);
    let age = r#"mutt_remediation_dead_list_oldest_age_seconds{queue="dead"}"#;
    daemon.until_metric(age, |age| age > 1e9).await;
    let stats: String = redis.command(&["INFO", "stats"]).await;
    let sent = stats
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"))
        .and_then(|bytes| bytes.trim().parse::<u64>().ok());
    assert!(sent.expect("a number") < 3_000_000, "{sent:?}");
    assert!(daemon.peak_memory_kib() < 100_000);
}

/// The lines of all files of an archive.
fn archived(directory: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).expect("readable");
    let text = |file: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(file.expect("readable").path()).expect("readable")
    };
    let texts: Vec<String> = files.map(text).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_line_that_broke_off_does_not_spoil_the_next_one() {
    let redis = Redis::start();
    let bodies = parked(30, 1);
    redis.push(DEAD, &bodies).await;
    let directory = tempfile::tempdir().expect("a directory");
    // One for each side of midnight.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    for date in [now.date(), now.date().tomorrow().expect("a day")] {
        let file = directory
            .path()
            .join(format!("mutt_dlq_dead-{date}.ndjson"));
        std::fs::write(file, "{\"body\":\"broken o").expect("written");
    }
    let path = directory.path().to_str().expect("text");
    let bounds = [("DEAD_LETTER_MAX", "20"), ("DEAD_LETTER_ARCHIVE", path)];
    let daemon = Daemon::start(&redis, &bounds);
    let evicted = r#"mutt_remediation_evicted_total{queue="dead",why="count"}"#;
    daemon.until_metric(evicted, |count| count == 10.0).await;
    let lines = archived(directory.path());
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let kept: Vec<String> = lines.filter_map(|line| line.body).collect();
    assert_eq!(kept, bodies[..10]);
}

#[tokio::test]
async fn what_cannot_be_evicted_is_archived_once() {
    let redis = Redis::start();
    let bodies = parked(30, 1);
    redis.push(DEAD, &bodies).await;
    redis
        .command::<()>(&["SET", "mutt:remediation:audit", "no stream"])
        .await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    let bounds = [("DEAD_LETTER_MAX", "20"), ("DEAD_LETTER_ARCHIVE", path)];
    let daemon = Daemon::start(&redis, &bounds);
    let failed = "mutt_remediation_evict_fail_total";
    daemon.until_metric(failed, |count| count >= 2.0).await;
    assert_eq!(archived(directory.path()).len(), 10);
    let _: i64 = redis.command(&["DEL", "mutt:remediation:audit"]).await;
    wait::until("it is evicted", || async { redis.len(DEAD).await == 20 }).await;
    assert_eq!(archived(directory.path()).len(), 10);
}

#[tokio::test]
async fn of_identical_messages_no_more_are_evicted_than_are_too_many_whoever_is_at_it() {
    let redis = Redis::start();
    redis.push(DEAD, &["{}"; 30]).await;
    let mut line = Stepper::before(redis.port()).await;
    let port = line.port().to_string();
    let bounds = [
        ("DEAD_LETTER_MAX", "20"),
        ("REMEDIATION_ENABLED", "false"),
        ("REDIS_TIMEOUT", "60"),
    ];
    let through = [&bounds[..], &[("REDIS_PORT", port.as_str())]].concat();
    line.stop_at(Stop::Request("WATCH", 1));
    let sleeper = Daemon::start(&redis, &through);
    // It has seen ten too many, and is about to take them off.
    let held = line.held().await;
    let other = Daemon::start(&redis, &bounds);
    wait::until("the other one has evicted", || async {
        redis.len(DEAD).await == 20
    })
    .await;
    other.signal("-KILL");
    held.go(Onward::Pass);
    redis.push(DEAD, &["{}"; 3]).await;
    let evicted = r#"mutt_remediation_evicted_total{queue="dead",why="count"}"#;
    sleeper.until_metric(evicted, |count| count == 3.0).await;
    assert_eq!(redis.len(DEAD).await, 20);
}
