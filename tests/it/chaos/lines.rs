//! What may become of a worker's lines, and the proxies that do it.
//!
//! A worker has proxies of its own, one before each server. Where there are several, nodes or
//! sentinels tell it which one to go to; so it asks those through proxies as well, which name the
//! proxies in place of the servers. Everybody else, and replication, goes straight there.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;

use super::access::{Access, Directory};
use super::place::Servers;
use crate::support::{Daemon, Proxy, Redis, until};

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    CutAfterRequest(i64),
    CutAfterReply(i64),
    BlackHole,
    Refuse,
    Accept,
    /// Bytes a second; 0 ends it.
    Slow(usize),
    /// Milliseconds that everything is held back for; 0 ends it. What a worker has sent arrives
    /// even if the worker is gone by then.
    Late(u64),
}

impl Line {
    /// Together they end whatever was begun.
    pub const END: [Self; 5] = [
        Self::Accept,
        Self::Slow(0),
        Self::Late(0),
        Self::CutAfterRequest(-1),
        Self::CutAfterReply(-1),
    ];

    /// Draws a fault, and its end if it has one, each with the milliseconds that pass before it.
    pub fn draw(rng: &mut Rng) -> Vec<(u64, Self)> {
        // Mostly within a batch, and now and then within a giant.
        let bytes = 1 << rng.u32(1..20);
        let bytes = rng.i64(0..bytes);
        match rng.u32(0..10) {
            0..3 => vec![(0, Self::CutAfterRequest(bytes))],
            3..6 => vec![(0, Self::CutAfterReply(bytes))],
            6 => vec![(0, Self::BlackHole)],
            7 => vec![(0, Self::Refuse), (rng.u64(10..300), Self::Accept)],
            8 => {
                let slow = Self::Slow(rng.usize(5_000..500_000));
                vec![(0, slow), (rng.u64(50..600), Self::Slow(0))]
            }
            _ => {
                let late = Self::Late(1 << rng.u32(0..11));
                vec![(0, late), (rng.u64(50..600), Self::Late(0))]
            }
        }
    }
}

/// The lines of one worker.
pub struct Lines {
    /// Before each server, by its port.
    servers: Vec<(u16, Proxy)>,
    /// Before each node or sentinel that is asked the way.
    guides: Vec<(u16, Proxy)>,
}

impl Lines {
    pub async fn to(servers: &Servers) -> Self {
        let mut lines = Self {
            servers: vec![],
            guides: vec![],
        };
        for port in servers.all().iter().map(Redis::port) {
            lines.servers.push((port, Proxy::before(port).await));
        }
        let proxies: Vec<(u16, u16)> = lines.servers.iter().map(ports).collect();
        if let Directory::Cluster(guides) | Directory::Sentinels(guides) =
            servers.access().directory
        {
            for port in guides {
                let guide = Proxy::leading(port, &proxies).await;
                lines.guides.push((port, guide));
            }
        }
        lines
    }

    /// Where a worker has to begin that would begin on this port.
    pub fn entry(&self, port: u16) -> u16 {
        let mut all = self.guides.iter().chain(&self.servers).map(ports);
        let found = all.find(|(before, _)| *before == port);
        found.expect("a server or a sentinel of this place").1
    }

    /// The same way for a worker that finds its way by itself.
    pub fn access(&self, access: Access) -> Access {
        let all = self.guides.iter().chain(&self.servers).map(ports);
        let through: HashMap<u16, u16> = all.collect();
        Access {
            through: through.into(),
            ..access
        }
    }

    /// Connections to servers that were made so far.
    pub fn used(&self) -> usize {
        let proxies = self.servers.iter().map(|(_, proxy)| proxy);
        proxies.map(Proxy::connections).sum()
    }

    /// Does this to the line to the server on this port, or to all lines.
    pub fn disturb(&self, to: Option<u16>, line: Line) {
        let guides = self.guides.iter().filter(|_| to.is_none());
        let these = self.servers.iter().chain(guides);
        let these = these.filter(|(port, _)| to.is_none_or(|to| to == *port));
        for (_, proxy) in these {
            match line {
                Line::CutAfterRequest(bytes) => proxy.cut_after_request_bytes(bytes),
                Line::CutAfterReply(bytes) => proxy.cut_after_reply_bytes(bytes),
                Line::BlackHole => proxy.black_hole_existing(),
                Line::Refuse => proxy.refuse(),
                Line::Accept => proxy.accept(),
                Line::Slow(rate) => proxy.limit_bytes_per_second(rate),
                Line::Late(millis) => proxy.hold_back(Duration::from_millis(millis)),
            }
        }
    }
}

/// Of a server and of the proxy before it.
fn ports((port, proxy): &(u16, Proxy)) -> (u16, u16) {
    (*port, proxy.port())
}

/// Shows that a daemon goes through its proxies only: else no fault of a line would mean much.
pub async fn are_the_only_way(servers: &Servers) {
    let lines = Lines::to(servers).await;
    // Whoever tells the way is there, so that the daemon learns where to go.
    for redis in servers.all() {
        lines.disturb(Some(redis.port()), Line::Refuse);
    }
    let source = servers.place.lists().source;
    servers.at(source).await.push(source, &["{}"; 20]).await;
    let variables = servers.variables(|port| lines.entry(port));
    let variables = variables.iter();
    let variables: Vec<(&str, &str)> = variables
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let _daemon = Daemon::start_alone(&variables);
    until("it has tried", || async { lines.used() > 3 }).await;
    assert_eq!(servers.len(source).await, 20);
    lines.disturb(None, Line::Accept);
    until("it drains", || async { servers.len(source).await < 20 }).await;
}
