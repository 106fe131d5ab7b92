//! Sessions: what a cookie says, and what seals it.
//!
//! A session is sealed with its role's key and kept nowhere: it outlives a restart, counts with
//! every instance that has the same keys, and ends with its key.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::http::api::access::{Role, is_name};

/// Seconds that a session lasts: a long shift.
pub(super) const LASTS: i64 = 12 * 3_600;

/// 256 random bits.
pub(super) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the system has random numbers");
    bytes
}

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) role: Role,
    pub(super) until: i64,
    pub(super) id: String,
    pub(super) user: Option<String>,
}

impl Session {
    pub(super) fn new(role: Role, user: Option<&str>, now: i64) -> Self {
        let mut id = String::new();
        for byte in &random()[..16] {
            let _ = write!(id, "{byte:02x}");
        }
        Self {
            role,
            until: now + LASTS,
            id,
            user: user.map(str::to_owned),
        }
    }

    /// Where nobody signs in: it is never sealed.
    pub(super) fn of_everybody() -> Self {
        Self {
            role: Role::Operator,
            until: i64::MAX,
            id: String::new(),
            user: None,
        }
    }

    /// Without its seal.
    fn text(&self) -> String {
        let user = URL_SAFE_NO_PAD.encode(self.user.as_deref().unwrap_or_default());
        let role = self.role.as_str();
        format!("{role}.{}.{}.{user}", self.until, self.id)
    }

    pub(super) fn sealed(&self, secret: &[u8; 32]) -> String {
        let seal = hmac::sign(&key(secret), self.text().as_bytes());
        format!("{}.{}", self.text(), URL_SAFE_NO_PAD.encode(seal.as_ref()))
    }

    /// What a cookie says, if it is one of ours and has not expired.
    pub(super) fn read(
        cookie: &str,
        now: i64,
        secret: impl Fn(Role) -> Option<[u8; 32]>,
    ) -> Option<Self> {
        let (text, seal) = cookie.rsplit_once('.')?;
        let mut parts = text.split('.');
        let role = match parts.next()? {
            "operator" => Role::Operator,
            "reader" => Role::Reader,
            _ => return None,
        };
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        hmac::verify(&key(&secret(role)?), text.as_bytes(), &seal).ok()?;
        let until = parts.next()?.parse().ok().filter(|until| *until > now)?;
        let id = parts.next()?.to_owned();
        let user = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let user = String::from_utf8(user).ok()?;
        Some(Self {
            role,
            until,
            id,
            user: is_name(&user).then_some(user),
        })
    }
}

/// The key of a seal, which tells nothing about the secret that it is made of.
fn key(secret: &[u8; 32]) -> hmac::Key {
    let made = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret),
        b"mutt-remediation console session",
    );
    hmac::Key::new(hmac::HMAC_SHA256, made.as_ref())
}

/// What a form of this session must carry.
pub(super) fn token(secret: &[u8; 32], id: &str) -> String {
    let tag = hmac::sign(&key(secret), format!("form {id}").as_bytes());
    URL_SAFE_NO_PAD.encode(&tag.as_ref()[..24])
}

/// A text that only a page of the session with this token says.
pub(super) fn closed(text: &str, token: &str) -> String {
    let seal = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()),
        text.as_bytes(),
    );
    let (text, seal) = (
        URL_SAFE_NO_PAD.encode(text),
        URL_SAFE_NO_PAD.encode(seal.as_ref()),
    );
    format!("{text}.{seal}")
}

/// The text, if it is one of this session.
pub(super) fn opened(closed: &str, token: &str) -> Option<String> {
    let (text, seal) = closed.split_once('.')?;
    let text = URL_SAFE_NO_PAD.decode(text).ok()?;
    let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    hmac::verify(&key, &text, &seal).ok()?;
    String::from_utf8(text).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn secret(role: Role) -> [u8; 32] {
        match role {
            Role::Operator => [7; 32],
            Role::Reader => [9; 32],
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "there may be no key for a role")]
    fn known(role: Role) -> Option<[u8; 32]> {
        Some(secret(role))
    }

    #[test]
    fn a_session_is_read_as_it_was_sealed_until_it_ends() {
        for (role, user) in [
            (Role::Operator, Some("ann.b@example")),
            (Role::Reader, Some("a; b=\"c\"")),
            (Role::Operator, None),
        ] {
            let session = Session::new(role, user, NOW);
            let cookie = session.sealed(&secret(role));
            assert!(!cookie.contains(['"', ';', ' ', ',']), "{cookie}");
            assert_eq!(Session::read(&cookie, NOW, known), Some(session));
            assert_eq!(Session::read(&cookie, NOW + LASTS, known), None);
        }
    }

    #[test]
    fn a_session_that_was_changed_or_sealed_with_another_key_is_none() {
        let reader = Session::new(Role::Reader, None, NOW);
        let cookie = reader.sealed(&[9; 32]);
        for forged in [
            cookie.replace("reader", "operator"),
            cookie.replacen(&reader.until.to_string(), "9999999999", 1),
            reader.sealed(&[8; 32]),
            cookie[..cookie.len() - 1].to_owned(),
            reader.text(),
            String::new(),
            "....".into(),
        ] {
            assert_eq!(Session::read(&forged, NOW, known), None, "{forged}");
        }
        assert_eq!(Session::read(&cookie, NOW, |_| None), None, "no such key");
    }

    #[test]
    fn what_is_told_once_is_told_by_pages_of_the_session_alone() {
        let closed = closed("moved 3 of 3 – é", "token");
        assert_eq!(
            opened(&closed, "token").as_deref(),
            Some("moved 3 of 3 – é")
        );
        assert_eq!(opened(&closed, "another"), None);
        assert_eq!(opened("QWxs.QWxs", "token"), None);
        assert_eq!(opened("", "token"), None);
    }
}
