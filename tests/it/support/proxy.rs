//! A TCP proxy that can cut connections after so many bytes, or swallow what passes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval_at};

#[derive(Default)]
pub struct Faults {
    /// Connections made so far.
    connections: AtomicUsize,
    /// What was accepted before this connection is swallowed, both ways.
    black_hole_before: AtomicUsize,
    /// Bytes that may still go to the server, and back; below zero means no limit.
    to_server: AtomicI64,
    to_client: AtomicI64,
    /// Bytes a second in each direction; 0 means no limit.
    rate: AtomicUsize,
    /// Milliseconds that everything is held back for, each way.
    late: AtomicU64,
    refusing: watch::Sender<bool>,
}

pub struct Proxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let faults = Arc::new(Faults::default());
        faults.to_server.store(-1, Ordering::SeqCst);
        faults.to_client.store(-1, Ordering::SeqCst);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, port, faults.clone()));
        Self {
            address,
            faults,
            _tasks: tasks,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self) -> usize {
        self.faults.connections.load(Ordering::SeqCst)
    }

    /// Swallows everything on the connections made so far; new ones work.
    pub fn black_hole_existing(&self) {
        self.faults
            .black_hole_before
            .store(self.connections() + 1, Ordering::SeqCst);
    }

    /// Ends all connections, and new ones at once.
    pub fn refuse(&self) {
        self.faults.refusing.send_replace(true);
    }

    /// Lets connections through again.
    pub fn accept(&self) {
        self.faults.refusing.send_replace(false);
    }

    /// Lets this much pass in a second, each way.
    pub fn limit_bytes_per_second(&self, rate: usize) {
        self.faults.rate.store(rate, Ordering::SeqCst);
    }

    /// Holds everything back for so long, each way. What a client has sent arrives all the same if
    /// the client is gone by then.
    pub fn hold_back(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("short");
        self.faults.late.store(millis, Ordering::SeqCst);
    }

    /// Cuts all connections after this many more bytes to the server.
    pub fn cut_after_request_bytes(&self, bytes: i64) {
        self.faults.to_server.store(bytes, Ordering::SeqCst);
    }

    /// Cuts all connections after this many more bytes from the server.
    pub fn cut_after_reply_bytes(&self, bytes: i64) {
        self.faults.to_client.store(bytes, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, port: u16, faults: Arc<Faults>) {
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = faults.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let there = pump(from_client, to_server, faults.clone(), number, |faults| {
            &faults.to_server
        });
        let back = pump(from_server, to_client, faults.clone(), number, |faults| {
            &faults.to_client
        });
        let faults = faults.clone();
        tasks.spawn(async move {
            let mut refusing = faults.refusing.subscribe();
            tokio::select! {
                () = there => {}
                () = back => {}
                _ = refusing.wait_for(|refusing| *refusing) => {}
            }
        });
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    faults: Arc<Faults>,
    number: usize,
    budget: impl Fn(&Faults) -> &AtomicI64,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if number < faults.black_hole_before.load(Ordering::SeqCst) {
            continue;
        }
        let rate = faults.rate.load(Ordering::SeqCst);
        // What a slow line would take for these bytes.
        if let Some(micros) = (count * 1_000_000).checked_div(rate) {
            let period = Duration::from_micros(u64::try_from(micros).expect("small"));
            interval_at(
                Instant::now() + period,
                period.max(Duration::from_micros(1)),
            )
            .tick()
            .await;
        }
        let late = faults.late.load(Ordering::SeqCst);
        if late > 0 {
            tokio::time::sleep(Duration::from_millis(late)).await;
        }
        let mut allowed = count;
        let left = budget(&faults).load(Ordering::SeqCst);
        if left >= 0 {
            allowed = count.min(usize::try_from(left).expect("not negative"));
            // The limit holds once: what reconnects afterwards is let through.
            let after = if allowed < count {
                -1
            } else {
                left - i64::try_from(allowed).expect("small")
            };
            budget(&faults).store(after, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < count {
            return;
        }
    }
}
