//! What the commands need: servers, a daemon whose dead letters stay because Moogsoft takes nothing,
//! letters of each kind, a checkout to type in, and a path on which there are no other programs than
//! those that `checkout` names.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use mutt_remediation::demo::server::free_port;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process;

use super::commands::{Command, Kind};
use super::{checkout, letters};
use crate::support::daemon::client;
use crate::support::webhook::Manner;
use crate::support::{Daemon, Prometheus, Redis, Sentinel, Webhook};

/// What a reader puts in himself, and what is put in here; `{dir}` is a folder of the test's own.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("<python-worker>", "python-worker"),
    ("<its labels>", "app=python-worker"),
    ("<namespace>", "mutt"),
    ("COMMAND", "status"),
    ("/etc/mutt", "{dir}/etc/mutt"),
    ("/etc/systemd/", "{dir}/etc/systemd/"),
    ("/usr/bin/", "{dir}/usr/bin/"),
    (
        "REDIS_SENTINEL_PASSWORD=...",
        "REDIS_SENTINEL_PASSWORD=hush",
    ),
];

pub(crate) struct World {
    redis: Redis,
    cluster: Redis,
    sentinel: Sentinel,
    daemon: Daemon,
    moogsoft: Webhook,
    receiver: Webhook,
    refusing: Webhook,
    prometheus: Prometheus,
    dir: TempDir,
    /// Somebody else who takes messages from the same end.
    thief: MultiplexedConnection,
    /// What may do everything, whatever a command has done to the password.
    keeper: MultiplexedConnection,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let users = dir.path().join("users.acl");
        fs::write(&users, "").expect("written");
        let redis = Redis::with_a_file(&["--aclfile", users.to_str().expect("text")]);
        let () = redis
            .command(&[
                "ACL", "SETUSER", "keeper", "on", ">keeper", "~*", "&*", "+@all",
            ])
            .await;
        let url = format!("redis://keeper:keeper@127.0.0.1:{}", redis.port());
        let keeper = redis.connect_to(&url).await;
        let watches = format!("sentinel monitor mymaster 127.0.0.1 {} 1", redis.port());
        let mut sentinel = Sentinel::stopped(redis.port(), 1, &[&watches]);
        sentinel.up().await;
        let mut prometheus = Prometheus::stopped(&[], &[]);
        prometheus.up().await;
        let moogsoft = Webhook::start(Manner::Status(503)).await;
        let daemon = Daemon::start(
            &redis,
            &[
                ("DYNAMIC_CONFIG_ENABLED", "true"),
                ("MOOG_WEBHOOK_URL", &moogsoft.url()),
                ("PROMETHEUS_URL", &prometheus.url()),
            ],
        );
        checkout::lay(dir.path());
        Self {
            thief: redis.connect().await,
            keeper,
            cluster: a_node(),
            sentinel,
            daemon,
            moogsoft,
            receiver: Webhook::start(Manner::Status(200)).await,
            refusing: Webhook::start(Manner::Status(400)).await,
            prometheus,
            dir,
            redis,
        }
    }

    /// Runs a command; what is wrong, if anything is.
    pub(crate) async fn run(&mut self, command: &Command) -> Result<(), String> {
        self.lay().await;
        let text = self.filled(&command.text).await;
        if text.contains(" &\n") && !text.contains("\nkill %1") {
            return Err("what goes on in the background is left there".to_owned());
        }
        // Whoever tries the whole way wants to see a replay.
        let works = if command.goes_the_whole_way() {
            200
        } else {
            503
        };
        self.moogsoft.behave(Manner::Status(works));
        match command.kind {
            Kind::Script => {
                let script = format!("{}{}", command.before, expecting(&text));
                self.shell(&format!("set -euo pipefail\n{script}"), false)
                    .await?;
            }
            Kind::Settings => {
                let script = format!(
                    "set -euo pipefail -a\n{text}\nmutt-remediation --check-config | tee checked\n! grep 'is not known' checked >&2"
                );
                self.shell(&script, false).await?;
            }
            Kind::Queries => {
                for query in text.lines() {
                    let query = format!("promtool query instant \"$PROMETHEUS_URL\" '{query}'");
                    self.shell(&query, false).await?;
                }
            }
            Kind::Session => {
                for (typed, shown) in session(&text) {
                    // Each line has a shell of its own, so that its status is kept for the next one.
                    let before = r#"set -- "$(cat "$TMPDIR/status" 2>/dev/null)""#;
                    let typed_here = typed.replace("$?", "$1");
                    let after = r#"echo $? >"$TMPDIR/status""#;
                    let script = format!("{before}\n{{ {typed_here}\n}} 2>&1\n{after}");
                    let said = self.shell(&script, true).await?;
                    looks_like(&typed, shown, &said)?;
                }
            }
        }
        Ok(())
    }

    /// The state in which each command finds the lists.
    async fn lay(&mut self) {
        let mut all = redis::pipe();
        for words in letters::commands() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            all.cmd(words[0]).arg(&words[1..]).ignore();
        }
        let () = all
            .query_async(&mut self.keeper)
            .await
            .expect("they are laid");
        // A reader is told to look for somebody whose last command was such a one.
        let taken: redis::RedisResult<Option<String>> = redis::cmd("RPOP")
            .arg("nothing")
            .query_async(&mut self.thief)
            .await;
        taken.expect("it answers");
    }

    async fn filled(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (written, meant) in PLACEHOLDERS {
            filled = filled.replace(written, meant);
        }
        for run in ["<run>", "alerter.0123456789abcdef0123456789abcdef"] {
            if filled.contains(run) {
                filled = filled.replace(run, &self.a_run().await);
            }
        }
        // The name of a host that nobody has here.
        filled = filled.replace("http://prometheus:9090", &self.prometheus.url());
        filled.replace("{dir}", self.dir.path().to_str().expect("text"))
    }

    /// The name of a run that is at work, for two seconds.
    async fn a_run(&self) -> String {
        let api = format!("http://127.0.0.1:{}/api/v1", self.daemon.port("api").await);
        let plan = json!({"action": "replay", "filter": {"reason": "shed"}});
        let plan = posted(&format!("{api}/queues/alerter/plans"), &plan).await;
        let run = json!({"token": plan["token"], "rate": 2});
        let run = posted(&format!("{api}/runs"), &run).await;
        run["run"]
            .as_str()
            .unwrap_or_else(|| panic!("{run}"))
            .to_owned()
    }

    /// What a shell says; or that it failed.
    async fn shell(&self, script: &str, terminal: bool) -> Result<String, String> {
        let file = self.dir.path().join("typed");
        fs::write(&file, script).expect("written");
        let path = |name: &str| self.dir.path().join(name);
        let mut bash = process::Command::new("bash");
        bash.arg(&file)
            .current_dir(path("checkout"))
            .env_clear()
            .env("PATH", path("bin"))
            .env("HOME", path("checkout"))
            .env("TMPDIR", self.dir.path())
            .env("USER", "alice")
            .env("EDITOR", path("bin/editor"))
            .env("REMEDIATION_API_KEY", "")
            .env("PROMETHEUS_URL", self.prometheus.url())
            .env("GRAFANA_URL", self.receiver.root())
            .env("GRAFANA_TOKEN", "a-token")
            .env("WORLD_PATH", checkout::path())
            .env("WORLD_BINARY", env!("CARGO_BIN_EXE_mutt-remediation"))
            .env("WORLD_REDIS", self.redis.port().to_string())
            .env("WORLD_CLUSTER", self.cluster.port().to_string())
            .env("WORLD_SENTINEL", self.sentinel.port().to_string())
            .env(
                "WORLD_METRICS",
                self.daemon.port("metrics").await.to_string(),
            )
            .env("WORLD_HEALTH", self.daemon.port("health").await.to_string())
            .env("WORLD_API", self.daemon.port("api").await.to_string())
            .env("WORLD_HOME", std::env::var_os("HOME").unwrap_or_default())
            .env(
                "WORLD_REPOSITORY",
                std::env::current_dir().expect("it is the repository"),
            )
            .env("WORLD_LOG", path("log"))
            .env("WORLD_MANIFESTS", path("manifests"))
            .env("WORLD_PASSWORD", letters::PASSWORD)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let one = format!("webhook+{}", self.receiver.root());
        if terminal {
            bash.env("WORLD_TERMINAL", "yes");
            let both = format!("{one} webhook+{}", self.refusing.root());
            bash.env("WORLD_RECEIVERS", both);
        } else {
            bash.env("WORLD_RECEIVERS", one);
        }
        fs::write(path("log"), self.daemon.log()).expect("written");
        let ended = tokio::time::timeout(Duration::from_secs(60), bash.output()).await;
        let output = ended.map_err(|_| "it does not end".to_owned())?;
        let output = output.expect("bash exists");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() {
            return Ok(said);
        }
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(format!("{}\n{}\n{errors}", output.status, last.join("\n")))
    }
}

/// A node of a cluster that has no others.
fn a_node() -> Redis {
    let bus = free_port().expect("a free port").to_string();
    Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
}

async fn posted(url: &str, body: &Value) -> Value {
    let request = client()
        .post(url)
        .header("content-type", "application/json");
    let answer = request
        .body(body.to_string())
        .send()
        .await
        .expect("it answers");
    let text = answer.text().await.expect("a body");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{url}: {text}"))
}

/// A line whose remark says `exit code N` is expected to end so.
fn expecting(text: &str) -> String {
    let line = |line: &str| {
        // What goes on in the background is tried first, and then is there to be ended.
        if let Some(command) = line.strip_suffix(" &") {
            return format!(
                "{command}\ntail -f /dev/null &\ntrap 'kill %1 2>/dev/null || true' EXIT\n"
            );
        }
        let Some((command, rest)) = line.split_once("# exit code ") else {
            return format!("{line}\n");
        };
        let code: String = rest.chars().take_while(char::is_ascii_digit).collect();
        format!("{} && false || [ $? -eq {code} ]\n", command.trim_end())
    };
    text.lines().map(line).collect()
}

/// What is typed, and what is shown then.
fn session(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("$ ") {
            all.push((typed.to_owned(), Vec::new()));
        } else if let Some((_, shown)) = all.last_mut() {
            shown.push(line);
        }
    }
    all
}

/// Each line that is shown is there, in this order; `...` leaves lines out. Of one with an address
/// only the first word counts.
fn looks_like(typed: &str, shown: Vec<&str>, said: &str) -> Result<(), String> {
    let mut left = said.lines();
    for line in shown.into_iter().filter(|line| *line != "...") {
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let fits = |found: &str| {
            found.trim() == line.trim() || (line.contains("://") && first(found) == first(line))
        };
        if !left.any(fits) {
            return Err(format!("{typed}\ndoes not show\n{line}\nbut\n{said}"));
        }
    }
    Ok(())
}
