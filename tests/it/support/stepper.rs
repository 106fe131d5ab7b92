//! A TCP proxy that knows where a command or an answer ends, and can hold one, so that a test can
//! strike exactly there.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::redis::DEAD;

/// What to hold, counted from when it is asked for: the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The command of this name, before any byte of it reaches Redis.
    Request(&'static str, usize),
    /// Its answer, before any byte of it reaches the client. Redis has done it.
    Reply(&'static str, usize),
}

/// What becomes of what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// It passes.
    Pass,
    /// Both ends see the connection end.
    Cut,
    /// Half of it passes, then the connection ends.
    Half,
    /// Neither it nor anything behind it passes, and nobody is told.
    Swallow,
}

pub struct Stepper {
    address: SocketAddr,
    stop: Arc<Mutex<Option<Stop>>>,
    held: mpsc::Receiver<oneshot::Sender<Onward>>,
    _tasks: JoinSet<()>,
}

/// A command or an answer on its way.
pub struct Held(oneshot::Sender<Onward>);

impl Held {
    pub fn go(self, onward: Onward) {
        // Nobody waits any more where Redis itself has gone.
        let _ = self.0.send(onward);
    }
}

impl Stepper {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = Arc::new(Mutex::new(None));
        let (holding, held) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, port, stop.clone(), holding));
        Self {
            address,
            stop,
            held,
            _tasks: tasks,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Asks for the next one to be held.
    pub fn stop_at(&self, stop: Stop) {
        *self.stop.lock().expect("not poisoned") = Some(stop);
    }

    /// Waits until it is.
    pub async fn held(&mut self) -> Held {
        let limit = std::time::Duration::from_secs(90);
        let held = tokio::time::timeout(limit, self.held.recv()).await;
        Held(held.ok().flatten().unwrap_or_else(|| {
            panic!("{:?} did not come", self.stop.lock().expect("not poisoned"))
        }))
    }
}

async fn accept(
    listener: TcpListener,
    port: u16,
    stop: Arc<Mutex<Option<Stop>>>,
    holding: mpsc::Sender<oneshot::Sender<Onward>>,
) {
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
            continue;
        };
        let line = Line {
            stop: stop.clone(),
            holding: holding.clone(),
            unanswered: Mutex::default(),
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tasks.spawn(async move {
            tokio::select! {
                () = line.pump(from_client, to_server, true) => {}
                () = line.pump(from_server, to_client, false) => {}
            }
        });
    }
}

/// One connection.
struct Line {
    stop: Arc<Mutex<Option<Stop>>>,
    holding: mpsc::Sender<oneshot::Sender<Onward>>,
    /// Names of commands that have passed and were not answered yet.
    unanswered: Mutex<VecDeque<String>>,
}

impl Line {
    async fn pump(
        &self,
        mut from: impl AsyncReadExt + Unpin,
        mut to: impl AsyncWriteExt + Unpin,
        requests: bool,
    ) {
        let mut buffer = Vec::new();
        while matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
            while let Some(length) = frame(&buffer) {
                let rest = buffer.split_off(length);
                let whole = std::mem::replace(&mut buffer, rest);
                let onward = self.judge(&whole, requests).await;
                let part = match onward {
                    Onward::Pass => &whole[..],
                    Onward::Half => &whole[..whole.len() / 2],
                    Onward::Cut => return,
                    Onward::Swallow => return std::future::pending().await,
                };
                let written = to.write_all(part).await;
                // What a client has sent arrives even if it is no longer there for the answers.
                if (requests && written.is_err()) || onward == Onward::Half {
                    return;
                }
            }
        }
    }

    /// Holds it if it is what was asked for, and returns what is to become of it.
    async fn judge(&self, whole: &[u8], request: bool) -> Onward {
        let name = if request {
            let name = name(whole);
            let mut unanswered = self.unanswered.lock().expect("not poisoned");
            unanswered.push_back(name.clone());
            name
        } else {
            let mut unanswered = self.unanswered.lock().expect("not poisoned");
            unanswered.pop_front().unwrap_or_default()
        };
        if !self.is_wanted(&name, request) {
            return Onward::Pass;
        }
        let (decide, decision) = oneshot::channel();
        if self.holding.send(decide).await.is_err() {
            return Onward::Cut;
        }
        decision.await.unwrap_or(Onward::Cut)
    }

    fn is_wanted(&self, name: &str, request: bool) -> bool {
        let mut stop = self.stop.lock().expect("not poisoned");
        let left = match &mut *stop {
            Some(Stop::Request(wanted, left)) if request && *wanted == name => left,
            Some(Stop::Reply(wanted, left)) if !request && *wanted == name => left,
            _ => return false,
        };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        *stop = None;
        true
    }
}

/// How long the first whole command or answer is.
fn frame(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut parts) = (0, 1);
    while parts > 0 {
        let line = bytes.get(at..)?;
        let end = line.windows(2).position(|pair| pair == b"\r\n")?;
        let number = std::str::from_utf8(&line[1..end]).ok()?.parse::<usize>();
        at += end + 2;
        parts -= 1;
        match (line[0], number) {
            (b'*', Ok(count)) => parts += count,
            (b'$', Ok(length)) => at += length + 2,
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// The first word of a command; nothing for the looks at what came back and at the dead list, which
/// are no steps of a batch.
fn name(request: &[u8]) -> String {
    let mut words = request.split(|byte| *byte == b'\n').skip(2).step_by(2);
    let mut word = || String::from_utf8_lossy(words.next().unwrap_or_default().trim_ascii());
    let name = word().to_uppercase();
    let mut is_look = || word() == *ARRIVALS.get_hash() || word() == "1" && word() == DEAD;
    if name == "EVALSHA" && is_look() {
        return String::new();
    }
    name
}

static ARRIVALS: LazyLock<redis::Script> =
    LazyLock::new(|| redis::Script::new(include_str!("../../../src/dlq/arrivals.lua")));
