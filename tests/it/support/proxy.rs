//! A TCP proxy that can cut connections after so many bytes, or swallow what passes.
//!
//! Before a node of a cluster or a sentinel it can have whoever asks the way led to other proxies,
//! so that one client goes through proxies and nobody else does.

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
        Self::leading(port, &[]).await
    }

    /// Whoever learns the first port of one of these pairs from this server, learns the second.
    pub async fn leading(port: u16, elsewhere: &[(u16, u16)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let faults = Arc::new(Faults::default());
        faults.to_server.store(-1, Ordering::SeqCst);
        faults.to_client.store(-1, Ordering::SeqCst);
        let mut tasks = JoinSet::new();
        let elsewhere = elsewhere.into();
        tasks.spawn(accept(listener, port, faults.clone(), elsewhere));
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

async fn accept(
    listener: TcpListener,
    port: u16,
    faults: Arc<Faults>,
    elsewhere: Arc<[(u16, u16)]>,
) {
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = faults.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let faults = faults.clone();
        let elsewhere = elsewhere.clone();
        tasks.spawn(async move {
            let there = Pump {
                faults: &faults,
                number,
                budget: &faults.to_server,
                elsewhere: &[],
            };
            let back = Pump {
                budget: &faults.to_client,
                elsewhere: &elsewhere,
                ..there
            };
            let mut refusing = faults.refusing.subscribe();
            tokio::select! {
                () = there.run(from_client, to_server) => {}
                () = back.run(from_server, to_client) => {}
                _ = refusing.wait_for(|refusing| *refusing) => {}
            }
        });
    }
}

/// One direction of a connection.
struct Pump<'a> {
    faults: &'a Faults,
    /// Of the connection.
    number: usize,
    budget: &'a AtomicI64,
    elsewhere: &'a [(u16, u16)],
}

impl Pump<'_> {
    async fn run(&self, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
        let faults = self.faults;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            if self.number < faults.black_hole_before.load(Ordering::SeqCst) {
                continue;
            }
            for (port, other) in self.elsewhere {
                lead(&mut buffer[..count], *port, *other);
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
            let left = self.budget.load(Ordering::SeqCst);
            if left >= 0 {
                allowed = count.min(usize::try_from(left).expect("not negative"));
                // The limit holds once: what reconnects afterwards is let through.
                let after = if allowed < count {
                    -1
                } else {
                    left - i64::try_from(allowed).expect("small")
                };
                self.budget.store(after, Ordering::SeqCst);
            }
            if to.write_all(&buffer[..allowed]).await.is_err() || allowed < count {
                return;
            }
        }
    }
}

/// Puts another port wherever this one stands alone, as a number or as a text. An answer that comes
/// in two reads may keep one, whose line goes past the proxies then.
fn lead(answer: &mut [u8], port: u16, other: u16) {
    for before in [":", "\n"] {
        let [port, other] = [port, other].map(|port| format!("{before}{port}\r").into_bytes());
        assert_eq!(port.len(), other.len(), "ports that a system chooses");
        let mut at = 0;
        while let Some(found) = answer[at..]
            .windows(port.len())
            .position(|part| part == port)
        {
            at += found;
            answer[at..at + other.len()].copy_from_slice(&other);
        }
    }
}

#[test]
fn only_a_whole_port_is_led_elsewhere() {
    let mut answer = *b"*2\r\n:40001\r\n$5\r\n40001\r\n$6\r\n140001\r\n:400012\r\n";
    lead(&mut answer, 40_001, 50_002);
    let led = b"*2\r\n:50002\r\n$5\r\n50002\r\n$6\r\n140001\r\n:400012\r\n";
    assert_eq!(answer, *led);
}
