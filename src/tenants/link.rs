//! The link that signs in once. Who starts a service with a PostgreSQL of its own is its owner, and needs no key at hand.
//!
//! It is kept in memory alone, and only as a hash: it ends with the process.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_key::random_secret;

/// How long the link is valid.
const LIFETIME: Duration = Duration::from_mins(15);

/// The link, until somebody has signed in with it.
#[derive(Debug, Default)]
pub(crate) struct OneTimeLink(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    token_hash: [u8; 32],
    key_id: Uuid,
    at: Instant,
}

impl OneTimeLink {
    /// Makes a link that stands for this key, and answers its token.
    pub(super) fn make(&self, key_id: Uuid, now: Instant) -> String {
        let token = random_secret();
        let made = Made {
            token_hash: Sha256::digest(&token).into(),
            key_id,
            at: now,
        };
        *self.0.lock().expect("no holder of this lock panics") = Some(made);
        token
    }

    /// The key that the link stands for, once.
    pub(super) fn take(&self, token: &str, now: Instant) -> Option<Uuid> {
        let token_hash = Sha256::digest(token);
        let fits = |made: &mut Made| {
            now.duration_since(made.at) < LIFETIME && bool::from(token_hash.ct_eq(&made.token_hash))
        };
        let mut link = self.0.lock().expect("no holder of this lock panics");
        link.take_if(fits).map(|made| made.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_taken_once_and_a_guess_does_not_spoil_it() {
        let (link, key, now) = (OneTimeLink::default(), Uuid::now_v7(), Instant::now());
        assert_eq!(link.take("", now), None);
        let token = link.make(key, now);
        assert_eq!(link.take(&token[1..], now), None);
        assert_eq!(link.take(&token, now), Some(key));
        assert_eq!(link.take(&token, now), None);
    }

    #[test]
    fn a_link_is_valid_for_15_minutes() {
        let (link, key, now) = (OneTimeLink::default(), Uuid::now_v7(), Instant::now());
        let token = link.make(key, now);
        assert_eq!(link.take(&token, now + LIFETIME), None);
        let last = LIFETIME.saturating_sub(Duration::from_millis(1));
        assert_eq!(link.take(&token, now + last), Some(key));
    }
}
