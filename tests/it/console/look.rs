//! Every page as it looks, in each scheme and at each width: what axe finds, whether it fits, and,
//! with `SCREENSHOTS=write`, its picture in docs/console.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::slo::day;
use super::{KEY, KEYED, Scene};
use crate::support::webhook::Manner;
use crate::support::{Browser, Prometheus, Redis, Webhook, until};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where `.ci/setup test` puts it.
const AXE: &str = "target/ci/axe/axe.min.js";
const SYSLOG: &str = "/console/queues/syslog";
const SYSLOG_LIST: &str = "mutt:dlq:syslog";
/// A phone, and a window on a desk.
const WIDTHS: [(&str, u32, u32); 2] = [("wide", 1280, 800), ("narrow", 360, 740)];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// A browser that looks at pages, and what it found.
pub(super) struct Looker {
    pub(super) browser: Browser,
    axe: String,
    write: bool,
    /// What a reader could not use.
    pub(super) grave: Vec<String>,
}

impl Looker {
    pub(super) async fn start() -> Self {
        let path = Path::new(ROOT).join(AXE);
        let axe = fs::read_to_string(path).expect("axe-core is fetched by `.ci/setup test`");
        let browser = Browser::start().await;
        let zone = json!({"timezoneId": "Etc/UTC"});
        browser
            .command("Emulation.setTimezoneOverride", &zone)
            .await;
        let locale = json!({"locale": "en-GB"});
        browser
            .command("Emulation.setLocaleOverride", &locale)
            .await;
        let write = std::env::var("SCREENSHOTS").is_ok_and(|what| what == "write");
        Self {
            browser,
            axe,
            write,
            grave: vec![],
        }
    }

    /// Looks at the page that is shown.
    pub(super) async fn look(&mut self, name: &str) {
        self.browser
            .until("document.readyState === 'complete'")
            .await;
        self.browser.run(&self.axe, &[]).await;
        for (width_name, width, height) in WIDTHS {
            for scheme in SCHEMES {
                self.show(scheme, width, height).await;
                let shown = format!("{name}-{scheme}-{width_name}");
                self.judge(&shown).await;
                if self.write {
                    self.write(&shown, scheme, width).await;
                }
            }
        }
        // What comes next is done at a desk.
        self.show("light", WIDTHS[0].1, WIDTHS[0].2).await;
        assert_eq!(self.browser.complaints().await, [""; 0], "{name}");
    }

    /// The same without a picture.
    pub(super) async fn check(&mut self, name: &str) {
        let write = std::mem::take(&mut self.write);
        self.look(name).await;
        self.write = write;
    }

    async fn show(&self, scheme: &str, width: u32, height: u32) {
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.browser
            .command("Emulation.setEmulatedMedia", &features)
            .await;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.browser
            .command("Emulation.setDeviceMetricsOverride", &size)
            .await;
        // Charts are drawn anew at the next frame.
        let drawn = "const done = arguments[0];\
            document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(done)))";
        self.browser.run_later(drawn).await;
    }

    /// All of the page, in a window as tall as that: what sticks to the window's edge is at its place.
    async fn write(&self, shown: &str, scheme: &str, width: u32) {
        let tall = self
            .browser
            .run("return document.documentElement.scrollHeight", &[]);
        let tall = u32::try_from(tall.await.as_u64().expect("a number")).expect("not so tall");
        self.show(scheme, width, tall).await;
        let path = Path::new(ROOT).join(format!("docs/console/{shown}.png"));
        fs::write(path, self.browser.picture().await).expect("it is written");
    }

    async fn judge(&mut self, shown: &str) {
        let wide = "const root = document.documentElement;\
            return root.scrollWidth > root.clientWidth ? `${root.scrollWidth} of ${root.clientWidth}` : ''";
        let wide = self.browser.run(wide, &[]).await;
        if wide != "" {
            self.grave
                .push(format!("{shown}: wider than the window, {wide}"));
        }
        let found = "const done = arguments[0];\
            axe.run({resultTypes: ['violations']}).then((found) => done(found.violations.map((one) =>\
                [one.impact, `${one.id}: ${one.help}: ` +\
                    one.nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(' | ')])),\
                (error) => done([['critical', String(error)]]))";
        let found = self.browser.run_later(found).await;
        for one in found.as_array().expect("a list") {
            let [impact, what] = [&one[0], &one[1]].map(|text| text.as_str().unwrap_or_default());
            let line = format!("{shown}: {impact}: {what}");
            if matches!(impact, "serious" | "critical") {
                self.grave.push(line);
            } else {
                eprintln!("{line}");
            }
        }
    }
}

fn seconds_ago(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs() - seconds
}

/// What network gear says, the oldest first.
fn syslog() -> Vec<String> {
    [
        (93_600, "fw-edge-2", "critical", "%ASA-1-104001: (Primary) Switching to ACTIVE - HELLO not heard from mate"),
        (27_000, "sw-core-1", "major", "%LINK-3-UPDOWN: Interface TenGigabitEthernet1/0/24, changed state to down"),
        (26_940, "sw-core-1", "warning", "%LINEPROTO-5-UPDOWN: Line protocol on Interface TenGigabitEthernet1/0/24, changed state to down"),
        (10_900, "rtr-wan-3", "major", "%BGP-5-ADJCHANGE: neighbor 192.0.2.17 Down BGP Notification sent"),
        (10_860, "rtr-wan-3", "major", "%BGP-3-NOTIFICATION: sent to neighbor 192.0.2.17 4/0 (hold time expired) 0 bytes"),
        (5_400, "rtr-wan-4", "warning", "%OSPF-5-ADJCHG: Process 1, Nbr 198.51.100.9 on GigabitEthernet0/1 from FULL to DOWN, Neighbor Down: Dead timer expired"),
        (2_460, "ups-dc2-a", "critical", "upsmon: UPS ups-dc2-a on battery, 34 minutes left"),
        (1_500, "sw-acc-117", "minor", "%PM-4-ERR_DISABLE: bpduguard error detected on Gi1/0/7, putting Gi1/0/7 in err-disable state"),
        (840, "fw-edge-2", "warning", "%ASA-4-733100: [Scanning] drop rate-1 exceeded. Current burst rate is 12 per second"),
        (150, "sw-core-2", "minor", "%SYS-2-MALLOCFAIL: Memory allocation of 65536 bytes failed from 0x41A2C8"),
    ]
    .iter()
    .enumerate()
    .map(|(number, (age, host, severity, message))| {
        json!({
            "hostname": host, "severity": severity, "message": message, "timestamp": seconds_ago(*age),
            "_correlation_id": format!("3f6c2a90-{number:04}"), "_retry_count": 1 + number % 2,
            "facility": "local7", "tags": {"site": "dc2", "rack": number},
        })
        .to_string()
    })
    .collect()
}

/// What keeps the other source busy: some of them have failed too often.
fn busy() -> Vec<String> {
    let each = (0..400).map(|number| {
        let replays = if number % 7 == 3 { 3 } else { 0 };
        json!({
            "hostname": format!("sw-acc-{}", 100 + number % 40), "message": "%LINK-3-UPDOWN: Interface down",
            "timestamp": seconds_ago(600), "_remediation_count": replays, "number": number,
        })
        .to_string()
    });
    each.collect()
}

/// Why messages were parked, and how many.
fn dead() -> Vec<String> {
    let reasons = [
        ("retries_exhausted", 14),
        ("incomplete", 5),
        ("malformed", 3),
        ("operator", 1),
    ];
    let each = reasons.into_iter().flat_map(|(reason, count)| {
        (0..count).map(move |number| {
            json!({
                "hostname": format!("sw-acc-{}", 100 + number), "message": "%PM-4-ERR_DISABLE: loopback error detected",
                "timestamp": seconds_ago(400 + 9_000 * number), "_retry_count": 4,
                "_remediation_reason": reason, "_remediation_dead_at": seconds_ago(60 * number),
            })
            .to_string()
        })
    });
    each.collect()
}

/// A source that drains, and one that somebody has paused, so that its letters lie still.
async fn scene(moogsoft: &Webhook, prometheus: &Prometheus) -> Scene {
    let [url, prometheus] = [moogsoft.url(), prometheus.url()];
    let mut variables = KEYED[1..].to_vec();
    variables.extend([
        ("MOOG_WEBHOOK_URL", url.as_str()),
        ("REMEDIATION_BATCH_SIZE", "3"),
        ("REMEDIATION_BATCHES_PER_CYCLE", "1"),
        ("REMEDIATION_SOURCES", "syslog"),
        ("SOURCE_SYSLOG_DLQ", SYSLOG_LIST),
        ("SOURCE_SYSLOG_TARGET", "mutt:syslog_queue"),
        ("SOURCE_SYSLOG_DEAD", "mutt:dlq:syslog_dead"),
        ("SOURCE_SYSLOG_POISON_FIELDS", "_retry_count"),
        ("POD_NAME", "remediation-0"),
        ("PROMETHEUS_URL", prometheus.as_str()),
        // What is seen at first stays, however long the looking takes.
        ("SLO_INTERVAL", "3600"),
        ("SLO_STALE_SECONDS", "86400"),
    ]);
    let scene = Scene::of(Redis::start(), &[""; 0], &variables).await;
    let guest = scene.guest(KEY).await;
    let form = [
        ("reason", "change window of the WAN, CHG-4711"),
        ("time", "4h"),
        ("token", &guest.token),
    ];
    let answer = guest.send("/console/queues/syslog/pause", &form).await;
    assert_eq!(answer.status(), 303);
    until("it is paused", async || {
        guest
            .get("/console/")
            .await
            .1
            .contains("An operator has paused this source")
    })
    .await;
    scene.redis.push(SYSLOG_LIST, &syslog()).await;
    scene.redis.push("mutt:dlq:syslog_dead", &dead()).await;
    scene.redis.dead_letter(&busy()).await;
    scene.daemon.get("metrics", "/metrics").await;
    scene
}

/// A queue, and one of its letters.
async fn letters(scene: &Scene, looker: &mut Looker) {
    scene.sign_in(&looker.browser, KEY, SYSLOG).await;
    looker.browser.press("What is in it").await;
    looker.browser.until_text(".loads", "messages").await;
    looker
        .browser
        .click("#messages tbody tr:nth-child(3) input")
        .await;
    looker.look("queue").await;
    looker
        .browser
        .click("#messages tbody tr:nth-child(2) a")
        .await;
    looker.look("message").await;
    looker.browser.press("Edit and replay").await;
    looker
        .browser
        .until("document.querySelector('#body')")
        .await;
    looker.look("edit").await;
    let text = "return document.querySelector('#body').value";
    let text = looker.browser.run(text, &[]).await;
    let text = text
        .as_str()
        .expect("a text")
        .replace("major", "warning")
        .replace("sw-core-1", "sw-core-1.example");
    let put = "document.querySelector('#body').value = arguments[0]";
    looker.browser.run(put, &[text.into()]).await;
    looker.browser.press("Show the difference").await;
    looker
        .browser
        .until("document.querySelector('.diff')")
        .await;
    looker.look("difference").await;
}

/// What is shown before something moves, and while it does.
async fn moves(scene: &Scene, looker: &mut Looker) {
    looker
        .browser
        .open(&scene.at(&format!("{SYSLOG}?host=rtr-wan-3")))
        .await;
    looker.browser.press("Plan to replay").await;
    looker.browser.until_text("h1", "Plan").await;
    looker.look("plan").await;
    looker.browser.press("Replay 2 messages").await;
    looker.browser.until_text("#run", "done").await;
    looker
        .browser
        .open(&scene.at("/console/queues/syslog.dead/review?action=restore"))
        .await;
    looker.look("nothing-ticked").await;
    looker
        .browser
        .open(&scene.at("/console/queues/syslog.dead"))
        .await;
    for row in 1..=3 {
        let tick = format!("#messages tbody tr:nth-child({row}) input");
        looker.browser.click(&tick).await;
    }
    looker.browser.press("Purge…").await;
    looker.browser.until_text("h1", "Purge").await;
    looker.look("review").await;
    looker
        .browser
        .open(&scene.at("/console/queues/syslog.dead?reason=retries_exhausted"))
        .await;
    looker.browser.press("Plan to restore").await;
    looker.browser.fill("#r-rate", "1").await;
    looker.browser.press("Restore 14 messages").await;
    looker.browser.until_text("#run", "running").await;
    looker.look("run").await;
}

#[tokio::test]
async fn every_page_can_be_used_by_everybody_in_each_scheme_and_at_each_width() {
    let moogsoft = Webhook::start(Manner::Status(200)).await;
    let mut prometheus = Prometheus::stopped(&[], &[]);
    prometheus.fill(&day());
    prometheus.up().await;
    let mut scene = scene(&moogsoft, &prometheus).await;
    let mut looker = Looker::start().await;

    looker.browser.open(&scene.at("/console/sign-in")).await;
    looker.browser.fill("#key", "wrong").await;
    looker.browser.press("Sign in").await;
    looker.browser.until_text(".alert", "wrong").await;
    looker.look("sign-in").await;

    letters(&scene, &mut looker).await;
    moves(&scene, &mut looker).await;
    for (name, page) in [
        ("runs", "/console/runs"),
        ("audit", "/console/audit?kind=act"),
        ("dead", "/console/dead"),
        ("no-match", "/console/queues/syslog?host=nobody"),
    ] {
        looker.browser.open(&scene.at(page)).await;
        looker.look(name).await;
    }
    looker.browser.open(&scene.at("/console/settings")).await;
    looker
        .browser
        .fill("#max_poison_retries [name=value]", "many")
        .await;
    looker
        .browser
        .click("#max_poison_retries button[value=set]")
        .await;
    looker.browser.until_text(".alert", "cannot be used").await;
    looker.look("settings").await;
    // A point of the charts is taken every ten seconds.
    looker.browser.open(&scene.at("/console/")).await;
    looker
        .browser
        .until("document.querySelectorAll('#charts canvas').length >= 2")
        .await;
    looker.look("overview").await;

    scene.redis.kill();
    looker
        .browser
        .until_text("#health", "cannot be reached")
        .await;
    looker.look("overview-without-redis").await;
    looker.browser.open(&scene.at(SYSLOG)).await;
    looker
        .browser
        .until_text("h1", "Redis cannot be asked")
        .await;
    looker.look("without-redis").await;
    assert_eq!(looker.grave, [""; 0]);
}
