//! Idempotency keys, and the 128-bit hash of a key that the ledger stores.
//!
//! The ledger and its index do not store the key itself, because keys can be long and callers put contact ids into them.
//! A key that the service generated is stored as its UUID. These increase with time, so that their index entries are
//! adjacent.

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::error::Error;
use super::extract::FieldValue;

/// The prefix of a generated key.
const GENERATED_PREFIX: &str = "auto-";
const MAX_CHARS: usize = 200;

/// A key: 1 to 200 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    pub(crate) fn parse(key: &str) -> Result<Self, String> {
        if (1..=MAX_CHARS).contains(&key.len())
            && key.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        {
            Ok(Self(key.to_owned()))
        } else {
            Err(format!(
                "An idempotency key must have 1 to {MAX_CHARS} printable ASCII characters."
            ))
        }
    }

    /// Reads the `Idempotency-Key` header, if there is one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let Some(value) = headers.get("idempotency-key") else {
            return Ok(None);
        };
        Self::parse(value.to_str().unwrap_or_default())
            .map(Some)
            .map_err(|detail| Error::malformed(format!("`Idempotency-Key` is not valid: {detail}")))
    }

    /// Generates a key for a request that has none, so that its caller can retry after a lost response.
    pub(crate) fn generate() -> Self {
        Self(format!("{GENERATED_PREFIX}{}", Uuid::now_v7()))
    }

    /// Derives the key of an item of a batch that has none of its own. A caller can send it as a key by itself, so it has
    /// the same maximum length, and the key of the batch must be shorter.
    pub(crate) fn of_item(&self, index: usize) -> Result<Self, Error> {
        Self::parse(&format!("{}:{index}", self.0)).map_err(|_| {
            Error::malformed("The `Idempotency-Key` of a batch is too long: it must leave room for `:` and the position of an item.")
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the stored form of the key. For a generated key that is its UUIDv7. For any other key it is the beginning
    /// of its SHA-256 as a UUID of version 8, so that the two cannot collide.
    pub(crate) fn hash(&self) -> Uuid {
        let generated = self.0.strip_prefix(GENERATED_PREFIX).and_then(|text| {
            let id = Uuid::try_parse(text).ok()?;
            (id.get_version_num() == 7 && id.to_string() == text).then_some(id)
        });
        generated.unwrap_or_else(|| {
            let digest = Sha256::digest(&self.0);
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest[..16]);
            Builder::from_custom_bytes(bytes).into_uuid()
        })
    }
}

impl FieldValue for IdempotencyKey {
    fn from_value(value: Value) -> Result<Self, String> {
        Self::parse(value.as_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_found_again_when_its_caller_sends_it_back() {
        let generated = IdempotencyKey::generate();
        let sent_back = IdempotencyKey::parse(generated.as_str()).expect("a key");
        assert_eq!(generated.hash(), sent_back.hash());
        assert_eq!(generated.hash().get_version_num(), 7);
    }

    #[test]
    fn other_keys_are_kept_as_a_hash_of_their_own_kind() {
        let uuid = Uuid::now_v7().to_string();
        let almost_generated = format!("auto-{}", uuid.to_uppercase());
        for key in ["order-17", &uuid, &almost_generated] {
            let hash = IdempotencyKey::parse(key).expect("a key").hash();
            assert_eq!(hash.get_version_num(), 8, "{key}");
        }
    }

    #[test]
    fn what_cannot_be_printed_is_no_key() {
        for key in ["", "ä", "a\nb", "a\u{7f}", &"k".repeat(201)] {
            assert!(IdempotencyKey::parse(key).is_err(), "{key:?}");
        }
        assert!(IdempotencyKey::parse(&"k".repeat(200)).is_ok());
    }
}
