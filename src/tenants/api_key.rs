//! API keys and their scopes.
//!
//! The format of a key is `cpk_<id>_<secret>`: the id identifies it, the secret authenticates it. Only the SHA-256 of the
//! secret is stored; 32 random bytes need no slow hash.

use std::fmt::Write;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::Name;
use crate::http::extract::{FieldValue, Fields, FromFields};

/// Every scope that a key can have, besides `*` for all.
pub(crate) const SCOPES: [&str; 15] = [
    "api-keys:read",
    "api-keys:write",
    "assignments:read",
    "assignments:write",
    "contacts:read",
    "contacts:write",
    "coupon-sets:read",
    "coupon-sets:write",
    "imports:read",
    "imports:write",
    "statistics:read",
    "webhooks:read",
    "webhooks:write",
    "workflows:read",
    "workflows:write",
];

/// A key as the API returns it, without its secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKey {
    pub id: Uuid,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    /// Updated at most once a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A new key with its secret, which no later response contains.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssuedApiKey {
    #[serde(flatten)]
    pub api_key: ApiKey,
    pub key: String,
}

/// The columns of a new key, with the hash of its secret.
pub(crate) struct ApiKeyRow {
    pub id: Uuid,
    pub name: String,
    pub scopes: Vec<String>,
    pub secret_hash: [u8; 32],
}

#[derive(Debug)]
pub(crate) struct NewApiKey {
    pub name: Name,
    pub scopes: Vec<String>,
}

impl NewApiKey {
    pub(crate) fn demo() -> Self {
        Self {
            name: Name("Demo".to_owned()),
            scopes: vec!["*".to_owned()],
        }
    }

    /// Generates the id and the secret. Returns the row to store and the complete key.
    pub(crate) fn issue(self) -> (ApiKeyRow, String) {
        let generated = GeneratedKey::new();
        let row = ApiKeyRow {
            id: generated.id,
            name: self.name.0,
            scopes: self.scopes,
            secret_hash: generated.secret_hash,
        };
        (row, generated.key)
    }
}

/// The id and the secret of a new key.
pub(crate) struct GeneratedKey {
    pub id: Uuid,
    /// The complete key.
    pub key: String,
    pub secret_hash: [u8; 32],
}

impl GeneratedKey {
    pub(crate) fn new() -> Self {
        let id = Uuid::now_v7();
        let secret = random_secret();
        Self {
            id,
            key: format!("cpk_{}_{secret}", id.simple()),
            secret_hash: Sha256::digest(&secret).into(),
        }
    }
}

/// Returns 32 random bytes in hexadecimal.
pub(crate) fn random_secret() -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    hexadecimal(&bytes)
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes every write");
        hex
    })
}

impl FromFields for NewApiKey {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name");
        let scopes: Option<ScopeList> = fields.required("scopes");
        Some(Self {
            name: name?,
            scopes: scopes?.0,
        })
    }
}

struct ScopeList(Vec<String>);

impl FieldValue for ScopeList {
    fn from_value(value: Value) -> Result<Self, String> {
        let known = |scope: &str| scope == "*" || SCOPES.contains(&scope);
        let scopes: Option<Vec<String>> = value
            .as_array()
            .filter(|scopes| !scopes.is_empty())
            .and_then(|scopes| {
                scopes
                    .iter()
                    .map(|s| s.as_str().filter(|s| known(s)).map(str::to_owned))
                    .collect()
            });
        let mut scopes = scopes.ok_or_else(|| {
            format!(
                "This must be a list of scopes. The scopes are \"*\" and: {}.",
                SCOPES.join(", ")
            )
        })?;
        scopes.sort_unstable();
        scopes.dedup();
        Ok(Self(scopes))
    }
}

/// The parts of a key that a caller sent, not verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials<'a> {
    pub id: Uuid,
    secret: &'a str,
}

impl<'a> Credentials<'a> {
    /// Reads `Bearer cpk_<id>_<secret>` or `apiKey <id>:<secret>`.
    pub(crate) fn parse(authorization: &'a str) -> Option<Self> {
        let (scheme, credentials) = authorization.split_once(' ')?;
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Self::parse_key(credentials)
        } else if scheme.eq_ignore_ascii_case("apikey") {
            Self::from_parts(credentials.split_once(':')?)
        } else {
            None
        }
    }

    /// Reads `cpk_<id>_<secret>`.
    pub(crate) fn parse_key(key: &'a str) -> Option<Self> {
        Self::from_parts(key.strip_prefix("cpk_")?.split_once('_')?)
    }

    fn from_parts((id, secret): (&str, &'a str)) -> Option<Self> {
        Some(Self {
            id: Uuid::try_parse(id).ok()?,
            secret,
        })
    }

    /// Compares the secret with a stored hash, in constant time.
    pub(crate) fn match_hash(&self, secret_hash: &[u8]) -> bool {
        Sha256::digest(self.secret).ct_eq(secret_hash).into()
    }
}

/// The scopes of a key. A clone counts one reference.
#[derive(Debug, Clone)]
pub(crate) struct Scopes(Arc<[String]>);

impl Scopes {
    pub(crate) fn new(scopes: Vec<String>) -> Self {
        Self(scopes.into())
    }

    pub(crate) fn allow(&self, scope: &str) -> bool {
        self.0.iter().any(|own| own == "*" || own == scope)
    }

    /// Returns the first of `wanted` that these scopes do not allow, so that the key cannot grant it.
    pub(crate) fn first_missing<'a>(&self, wanted: &'a [String]) -> Option<&'a str> {
        wanted
            .iter()
            .map(String::as_str)
            .find(|scope| !self.allow(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_header_schemes_name_the_same_key() {
        let (stored, key) = NewApiKey::demo().issue();
        let bearer = format!("Bearer {key}");
        let secret = key.rsplit('_').next().expect("a secret");
        let api_key = format!("apiKey {}:{secret}", stored.id);
        for header in [bearer, api_key] {
            let credentials = Credentials::parse(&header).expect("a key");
            assert_eq!(credentials.id, stored.id);
            assert!(credentials.match_hash(&stored.secret_hash));
        }
    }

    #[test]
    fn a_wrong_secret_proves_nothing() {
        let (stored, key) = NewApiKey::demo().issue();
        let header = format!("Bearer {key}0");
        assert!(
            !Credentials::parse(&header)
                .expect("a key")
                .match_hash(&stored.secret_hash)
        );
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        for header in [
            "",
            "Bearer",
            "Bearer x",
            "Basic abc",
            "Bearer cpk_1_2",
            "apiKey 1:2",
        ] {
            assert_eq!(Credentials::parse(header), None, "{header}");
        }
    }

    #[test]
    fn a_key_grants_no_more_than_it_has() {
        let some = Scopes::new(vec!["imports:read".to_owned()]);
        assert_eq!(
            some.first_missing(&["imports:read".to_owned(), "*".to_owned()]),
            Some("*")
        );
        assert_eq!(
            Scopes::new(vec!["*".to_owned()]).first_missing(&["*".to_owned()]),
            None
        );
    }
}
