//! A stand-in for a service of MUTT as Prometheus meets it: counters that follow a script.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The bounds of its histograms: those of Python's client.
const BOUNDS: [&str; 15] = [
    "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5",
    "7.5", "10", "+Inf",
];

/// What its counters do.
#[derive(Default)]
struct Script {
    /// Each series by its name with labels.
    values: BTreeMap<String, f64>,
    /// What each scrape adds, after it has been answered: a counter is seen at 0 first, or what it
    /// begins with would not count as an increase.
    growth: Vec<(String, f64)>,
    refuses: bool,
    scrapes: u64,
}

impl Script {
    fn add(&mut self, series: &str, by: f64) {
        *self.values.entry(series.to_owned()).or_default() += by;
    }
}

pub struct Exporter {
    port: u16,
    script: Arc<Mutex<Script>>,
    tasks: JoinSet<()>,
}

impl Exporter {
    /// One without any series yet.
    pub async fn start() -> Self {
        let mut exporter = Self {
            port: 0,
            script: Arc::default(),
            tasks: JoinSet::new(),
        };
        exporter.up().await;
        exporter
    }

    /// Listens, again on the port that it had.
    pub async fn up(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
        let listener = listener.expect("a port");
        self.port = listener.local_addr().expect("an address").port();
        self.tasks.spawn(accept(listener, self.script.clone()));
    }

    /// Goes away: connections are refused. Its counters stay, and grow no further.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("not poisoned")
    }

    pub fn set(&self, series: &str, value: f64) {
        self.script().values.insert(series.to_owned(), value);
    }

    pub fn add(&self, series: &str, by: f64) {
        self.script().add(series, by);
    }

    /// From now on each scrape adds this, and no longer what earlier ones added.
    pub fn each_scrape<S: Into<String>>(&self, growth: impl IntoIterator<Item = (S, f64)>) {
        let growth = growth.into_iter();
        let growth: Vec<_> = growth.map(|(series, by)| (series.into(), by)).collect();
        let mut script = self.script();
        for (series, _) in &growth {
            script.add(series, 0.0);
        }
        script.growth = growth;
    }

    /// Starts anew, as after a restart: every counter is at 0 again.
    pub fn reset(&self) {
        for value in self.script().values.values_mut() {
            *value = 0.0;
        }
    }

    /// Has no series any more, and adds none.
    pub fn forget(&self) {
        let mut script = self.script();
        script.values.clear();
        script.growth.clear();
    }

    /// Whether it answers scrapes with an error.
    pub fn refuse(&self, refuses: bool) {
        self.script().refuses = refuses;
    }

    /// How many scrapes it has answered with its counters.
    pub fn scrapes(&self) -> u64 {
        self.script().scrapes
    }
}

/// What so many observations of so many seconds add to a histogram, for [`Exporter::add`] and
/// [`Exporter::each_scrape`]: to its buckets, its count and its sum.
pub fn observations(histogram: &str, seconds: f64, times: f64) -> Vec<(String, f64)> {
    let bucket = |bound: &&str| {
        let within = bound.parse::<f64>().is_ok_and(|bound| seconds <= bound);
        let name = format!("{histogram}_bucket{{le=\"{bound}\"}}");
        (name, if within { times } else { 0.0 })
    };
    let mut all: Vec<_> = BOUNDS.iter().map(bucket).collect();
    all.push((format!("{histogram}_count"), times));
    all.push((format!("{histogram}_sum"), times * seconds));
    all
}

async fn accept(listener: TcpListener, script: Arc<Mutex<Script>>) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        tasks.spawn(answer(stream, script.clone()));
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let (status, body) = scraped(&mut script.lock().expect("not poisoned"));
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/plain; version=0.0.4\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

fn scraped(script: &mut Script) -> (u16, String) {
    if script.refuses {
        return (503, String::new());
    }
    let mut body = String::new();
    for (series, value) in &script.values {
        writeln!(body, "{series} {value}").expect("it is written to memory");
    }
    script.scrapes += 1;
    for (series, by) in script.growth.clone() {
        script.add(&series, by);
    }
    (200, body)
}

#[cfg(test)]
mod tests {
    use super::super::Prometheus;
    use super::*;

    #[tokio::test]
    async fn prometheus_reads_counters_that_follow_the_script() {
        let mut exporter = Exporter::start().await;
        exporter.set("up_to{a=\"b\"}", 3.0);
        exporter.add("up_to{a=\"b\"}", 4.0);
        let steady = observations("time_seconds", 0.3, 2.0);
        exporter.each_scrape(steady.into_iter().chain([("steady_total".into(), 5.0)]));
        let job = [("mutt", exporter.port())];
        let prometheus = Prometheus::start(&job, &[]).await;
        let until = async |query: &str| prometheus.until_found(query).await;
        until("up_to{a=\"b\"} == 7").await;
        until("increase(steady_total[5m]) > 0").await;
        until("histogram_quantile(0.5, increase(time_seconds_bucket[5m])) > 0.25").await;
        until("increase(time_seconds_bucket{le=\"0.25\"}[5m]) == 0").await;

        exporter.reset();
        until("resets(steady_total[5m]) == 1").await;
        exporter.refuse(true);
        until("up == 0").await;
        let before = exporter.scrapes();
        exporter.refuse(false);
        until("up == 1").await;
        assert!(exporter.scrapes() > before);
        exporter.stop().await;
        until("up == 0").await;
        exporter.up().await;
        exporter.forget();
        until("up == 1 unless steady_total").await;
    }
}
