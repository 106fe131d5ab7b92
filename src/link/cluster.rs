//! Where a key lives in a Redis Cluster: its slot, and the node that serves it.

use std::sync::LazyLock;

use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

use super::{Address, Error, Link, Reason};

/// Slots in a cluster.
const SLOTS: u16 = 16_384;

static CRC: LazyLock<Crc<u16>> = LazyLock::new(|| Crc::<u16>::new(&CRC_16_XMODEM));

/// The slot of a key.
#[must_use]
pub fn slot(key: &str) -> u16 {
    CRC.checksum(tag(key).as_bytes()) % SLOTS
}

/// The part of a key that decides on its slot: what stands between the first brace and the next
/// closing one, or all of it.
fn tag(key: &str) -> &str {
    let Some((_, rest)) = key.split_once('{') else {
        return key;
    };
    match rest.split_once('}') {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// The name of a companion of `key`, in its slot; `None` if the key is such that no other name is
/// sure to be there.
#[must_use]
pub fn beside(key: &str, name: &str) -> Option<String> {
    let tag = tag(key);
    let companion = format!("{{{tag}}}:mutt:remediation:{name}");
    // A tag with a closing brace in it would end early.
    (slot(&companion) == slot(key)).then_some(companion)
}

impl Link {
    /// The node that serves our slot, as the others tell. They are asked in turn, beginning with
    /// the one that answered last.
    pub(super) async fn owner(&mut self) -> Result<Address, Error> {
        let nodes = self.config.cluster.clone();
        let mut failure = unserved(self.slot);
        for at in (self.node..nodes.len()).chain(0..self.node) {
            match self.ask_node(&nodes[at]).await {
                Ok(owner) => {
                    self.node = at;
                    return Ok(owner);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn ask_node(&mut self, node: &Address) -> Result<Address, Error> {
        let mut line = self.open_at(Some(node)).await?.line;
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let slots: Value = slots.query_async(&mut line).await.map_err(|error| {
            let Error { reason, detail } = error.into();
            let alone = detail.contains("cluster support disabled");
            let reason = if alone { Reason::Cluster } else { reason };
            Error::new(reason, format!("{node} does not tell the slots: {detail}"))
        })?;
        let mut owner = owner(&slots, self.slot)?;
        // A node that has not been spoken to yet does not know its own address.
        if owner.host.is_empty() || owner.host == "?" {
            owner.host.clone_from(&node.host);
        }
        Ok(owner)
    }
}

/// The address of the node that serves a slot, from an answer to `CLUSTER SLOTS`. A node that does
/// not know its own address gives an empty one.
fn owner(slots: &Value, slot: u16) -> Result<Address, Error> {
    let Value::Array(ranges) = slots else {
        return Err(unserved(slot));
    };
    let found = ranges.iter().find_map(|range| {
        let Value::Array(range) = range else {
            return None;
        };
        let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = &range[..] else {
            return None;
        };
        if !(*from..=*to).contains(&i64::from(slot)) {
            return None;
        }
        let [host, Value::Int(port), ..] = &primary[..] else {
            return None;
        };
        let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
        Some(Address {
            host: host.unwrap_or_default(),
            port: u16::try_from(*port).ok()?,
        })
    });
    found.ok_or_else(|| unserved(slot))
}

fn unserved(slot: u16) -> Error {
    Error::new(
        Reason::Cluster,
        format!("no node of the cluster serves slot {slot}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_server() {
        // CLUSTER KEYSLOT of redis 7.0.15.
        assert_eq!(slot("mutt:dlq:alerter"), 12_970);
        assert_eq!(slot("mutt:dlq:dead"), 11_167);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(slot("foo{}{bar}"), 8_363);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
    }

    #[test]
    fn a_companion_lies_in_the_slot_of_its_key() {
        for key in [
            "mutt:dlq:alerter",
            "{mutt}:dlq",
            "a{b",
            "foo{{bar}}zap",
            "x{}",
        ] {
            let companion = beside(key, "sequence");
            if let Some(companion) = companion {
                assert_eq!(slot(&companion), slot(key), "{key}");
            }
        }
        assert!(beside("mutt:dlq:alerter", "sequence").is_some());
        assert!(
            beside("foo{}{bar}", "sequence").is_none(),
            "no tag reaches its slot"
        );
    }
}
