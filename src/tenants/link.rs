//! The one-time sign-in link, which a start with the embedded PostgreSQL prints so that its owner can sign in without a
//! key.
//!
//! Only the hash of its token is stored, and only in memory: the link ends with the process.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_key::random_secret;

/// Time for which the link is valid.
const LIFETIME: Duration = Duration::from_mins(15);

/// The link, empty once it is used.
#[derive(Debug, Default)]
pub(crate) struct OneTimeLink(Mutex<Option<IssuedLink>>);

#[derive(Debug)]
struct IssuedLink {
    token_hash: [u8; 32],
    key_id: Uuid,
    issued_at: Instant,
}

impl OneTimeLink {
    /// Issues a link that signs in as this key, and returns its token. It replaces the link before it.
    pub(super) fn issue(&self, key_id: Uuid, now: Instant) -> String {
        let token = random_secret();
        let issued = IssuedLink {
            token_hash: Sha256::digest(&token).into(),
            key_id,
            issued_at: now,
        };
        *self.0.lock().expect("no holder of this lock panics") = Some(issued);
        token
    }

    /// Removes the link and returns its key, if the token is right and the link has not expired.
    pub(super) fn take(&self, token: &str, now: Instant) -> Option<Uuid> {
        let token_hash = Sha256::digest(token);
        let is_valid = |issued: &mut IssuedLink| {
            now.duration_since(issued.issued_at) < LIFETIME
                && bool::from(token_hash.ct_eq(&issued.token_hash))
        };
        let mut link = self.0.lock().expect("no holder of this lock panics");
        link.take_if(is_valid).map(|issued| issued.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_taken_once_and_a_guess_does_not_spoil_it() {
        let (link, key, now) = (OneTimeLink::default(), Uuid::now_v7(), Instant::now());
        assert_eq!(link.take("", now), None);
        let token = link.issue(key, now);
        assert_eq!(link.take(&token[1..], now), None);
        assert_eq!(link.take(&token, now), Some(key));
        assert_eq!(link.take(&token, now), None);
    }

    #[test]
    fn a_link_is_valid_for_15_minutes() {
        let (link, key, now) = (OneTimeLink::default(), Uuid::now_v7(), Instant::now());
        let token = link.issue(key, now);
        assert_eq!(link.take(&token, now + LIFETIME), None);
        let last = LIFETIME.saturating_sub(Duration::from_millis(1));
        assert_eq!(link.take(&token, now + last), Some(key));
    }
}
