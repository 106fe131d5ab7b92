//! Wrong keys, counted by the address they come from. Bounded, however many addresses there are.
//!
//! This spares work and log lines. It is no lock: a right key is taken from any address, or whoever
//! shares an operator's address could lock him out. What keeps a key from being guessed is its
//! length.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong keys that an address may send in a window.
pub(super) const ALLOWED: u32 = 10;
/// How long they are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered.
const MOST: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<IpAddr, Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    count: u32,
}

/// What to say to a wrong key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// That it is wrong; and whether this is worth a line in the log.
    Wrong { first: bool },
    /// That it was one too many, and for how long.
    TooMany(Duration),
}

impl Failures {
    /// Another wrong key came from there.
    pub(super) fn add(&mut self, from: IpAddr, now: Instant) -> Verdict {
        let place = network(from);
        if self.0.len() >= MOST && !self.0.contains_key(&place) {
            self.forget(now);
        }
        let window = self.0.entry(place).or_insert(Window {
            since: now,
            count: 0,
        });
        if now.duration_since(window.since) >= WINDOW {
            *window = Window {
                since: now,
                count: 0,
            };
        }
        window.count = window.count.saturating_add(1);
        if window.count <= ALLOWED {
            return Verdict::Wrong {
                first: window.count == 1,
            };
        }
        Verdict::TooMany(WINDOW.saturating_sub(now.duration_since(window.since)))
    }

    /// Makes room: what is over goes, and where nothing is, the oldest.
    fn forget(&mut self, now: Instant) {
        self.0
            .retain(|_, window| now.duration_since(window.since) < WINDOW);
        if self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, window)| window.since);
            if let Some(oldest) = oldest.map(|(place, _)| *place) {
                self.0.remove(&oldest);
            }
        }
    }
}

/// Whom an address belongs to: one customer has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_too_many_is_told_to_wait_until_the_window_is_over() {
        let mut failures = Failures::default();
        for number in 0..ALLOWED {
            let first = number == 0;
            let verdict = failures.add(address(1), Instant::now());
            assert_eq!(verdict, Verdict::Wrong { first });
        }
        tokio::time::advance(WINDOW / 3).await;
        let verdict = failures.add(address(1), Instant::now());
        assert_eq!(verdict, Verdict::TooMany(WINDOW / 3 * 2));
        let verdict = failures.add(address(2), Instant::now());
        assert_eq!(verdict, Verdict::Wrong { first: true });
        tokio::time::advance(WINDOW).await;
        let verdict = failures.add(address(1), Instant::now());
        assert_eq!(verdict, Verdict::Wrong { first: true });
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_addresses_takes_bounded_memory_and_the_newest_are_remembered() {
        let mut failures = Failures::default();
        for number in 0..5_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            failures.add(address(number), Instant::now());
        }
        assert_eq!(failures.0.len(), MOST);
        let verdict = failures.add(address(4_999), Instant::now());
        assert_eq!(verdict, Verdict::Wrong { first: false });
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_and_a_mapped_one_as_what_it_is() {
        let read = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(read("2001:db8::1"), read("2001:db8::ffff:1"));
        assert_ne!(read("2001:db8::1"), read("2001:db8:0:1::1"));
        assert_eq!(read("::ffff:192.0.2.7"), read("192.0.2.7"));
    }
}
