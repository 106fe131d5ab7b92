//! Slots of a cluster, against the specification's own algorithm bit by bit.

use mutt_remediation::link::cluster::{beside, slot};

/// The input is the name of a key.
pub fn check(data: &[u8]) {
    let Ok(key) = std::str::from_utf8(data) else {
        return;
    };
    assert_eq!(slot(key), specified(data), "{key:?}");
    for name in ["sequence", "", "a}b"] {
        if let Some(companion) = beside(key, name) {
            assert_eq!(slot(&companion), slot(key), "{companion:?}");
            assert_eq!(specified(companion.as_bytes()), specified(data));
        }
    }
    // A plain name, or a plain tag, always leaves room.
    if !data.is_empty() && !data.iter().any(|byte| b"{}".contains(byte)) {
        assert!(beside(key, "sequence").is_some(), "{key:?}");
        assert!(beside(&format!("{{{key}}}:x"), "sequence").is_some());
        assert_eq!(slot(&format!("x{{{key}}}y{{z}}")), slot(key));
    }
}

/// `HASH_SLOT` of the cluster specification: CRC16/XMODEM of the hash tag, modulo 16,384.
fn specified(key: &[u8]) -> u16 {
    let mut part = key;
    if let Some(open) = key.iter().position(|byte| *byte == b'{') {
        let rest = &key[open + 1..];
        if let Some(end) = rest.iter().position(|byte| *byte == b'}')
            && end > 0
        {
            part = &rest[..end];
        }
    }
    let mut crc = 0u16;
    for byte in part {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % 16_384
}
