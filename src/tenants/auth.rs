//! Who calls: `Caller<Scope>` and `Operator`, the extractors that every handler names in its signature.
//!
//! A verified key is remembered for `KEY_LIFETIME`, so a revoked key or a suspended tenant is refused by every replica
//! after that time at the latest, and at once by the replica that was told.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_key::{Presented, Scopes};
use super::{TenantId, db};
use crate::app::App;
use crate::database::{ACQUIRE_TIMEOUT, Database};
use crate::error::{Error, MISSING_SCOPE, TENANT_SUSPENDED, UNAUTHORIZED, UNKNOWN_PATH};

/// How long another replica may go on accepting a key that was revoked.
pub(crate) const KEY_LIFETIME: Duration = Duration::from_secs(1);

/// A permission that a handler asks for in its signature.
pub(crate) trait Scope: Send {
    const NAME: &'static str;
}

macro_rules! scopes {
    ($($name:ident = $scope:literal;)*) => {
        $(#[derive(Debug)] pub(crate) struct $name;
        impl Scope for $name { const NAME: &'static str = $scope; })*
    };
}

scopes! {
    ApiKeysRead = "api-keys:read";
    ApiKeysWrite = "api-keys:write";
    AssignmentsRead = "assignments:read";
    AssignmentsWrite = "assignments:write";
    ContactsRead = "contacts:read";
    ContactsWrite = "contacts:write";
    CouponSetsRead = "coupon-sets:read";
    CouponSetsWrite = "coupon-sets:write";
    ImportsRead = "imports:read";
    ImportsWrite = "imports:write";
    StatisticsRead = "statistics:read";
    WorkflowsRead = "workflows:read";
    WorkflowsWrite = "workflows:write";
    WebhooksRead = "webhooks:read";
    WebhooksWrite = "webhooks:write";
}

/// A caller whose key was verified and has the scope `S`.
#[derive(Debug)]
pub(crate) struct Caller<S> {
    pub tenant: TenantId,
    /// The id of the key that was presented.
    pub key: Uuid,
    pub scopes: Scopes,
    scope: PhantomData<S>,
}

impl<S: Scope> FromRequestParts<App> for Caller<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let presented = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| Presented::parse(value.to_str().ok()?))
            .ok_or_else(|| {
                Error::refused(&UNAUTHORIZED, "Send a key as `Authorization: Bearer cpk_…` or `Authorization: apiKey <id>:<secret>`.")
            })?;
        let key = app.keys.find(&app.database, presented.id).await?;
        let key = key
            .filter(|key| presented.proves(&key.secret_hash))
            .ok_or_else(|| {
                Error::refused(&UNAUTHORIZED, "The key is not valid, or it was revoked.")
            })?;
        // Once a minute at most, and only for who has the secret.
        if key.unnoted.swap(false, Ordering::Relaxed) {
            db::note_use(app.database.system(), key.tenant, presented.id).await?;
        }
        if key.suspended {
            return Err(Error::refused(
                &TENANT_SUSPENDED,
                "The operator has suspended this tenant.",
            ));
        }
        if !key.scopes.allow(S::NAME) {
            return Err(Error::refused(
                &MISSING_SCOPE,
                format!("The key needs the scope `{}`.", S::NAME),
            )
            .with("scope", S::NAME));
        }
        Ok(Self {
            tenant: key.tenant,
            key: presented.id,
            scopes: key.scopes.clone(),
            scope: PhantomData,
        })
    }
}

/// The operator of the service. Without a configured token there is none, and `/admin` does not exist.
#[derive(Debug)]
pub(crate) struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Some(token) = &app.config.operator_token else {
            return Err(Error::refused(
                &UNKNOWN_PATH,
                "`/admin` is off: COUPONRY_OPERATOR_TOKEN is not set.",
            ));
        };
        let presented = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| {
                Error::refused(
                    &UNAUTHORIZED,
                    "Send the operator token as `Authorization: Bearer …`.",
                )
            })?;
        // Hashes have one length, so the comparison tells nothing about the token's.
        if bool::from(Sha256::digest(presented).ct_eq(&Sha256::digest(token))) {
            Ok(Self)
        } else {
            Err(Error::refused(
                &UNAUTHORIZED,
                "That is not the operator token.",
            ))
        }
    }
}

/// A key as it was found in the database.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub tenant: TenantId,
    pub secret_hash: Vec<u8>,
    pub scopes: Scopes,
    pub suspended: bool,
    /// The use that is noted is a minute old or older.
    pub unnoted: AtomicBool,
}

/// The keys that were seen lately.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: RwLock<HashMap<Uuid, (Instant, Arc<KnownKey>)>>,
    /// Rises when keys are forgotten: what was asked for before is not remembered after.
    generation: AtomicU64,
    /// Stripes, so that of many requests with one key a single one asks the database.
    loading: [tokio::sync::Mutex<()>; 16],
}

/// How many keys are remembered before the stale ones are dropped.
const SWEEP_AT: usize = 10_000;

impl Keys {
    async fn find(&self, database: &Database, id: Uuid) -> Result<Option<Arc<KnownKey>>, Error> {
        if let Some(key) = self.fresh(id) {
            return Ok(Some(key));
        }
        let stripe = usize::from(id.as_bytes()[15]) % self.loading.len();
        // Who waits for one that waits for a database that is away need not wait anew.
        let _loading = tokio::time::timeout(ACQUIRE_TIMEOUT, self.loading[stripe].lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        if let Some(key) = self.fresh(id) {
            return Ok(Some(key));
        }
        // The age counts from before the question, so that a revocation in between is not outlived.
        let asked = Instant::now();
        let generation = self.generation.load(Ordering::SeqCst);
        let Some(key) = db::find_api_key(database.system(), id).await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut known = self.known.write().expect("no holder of this lock panics");
        if known.len() >= SWEEP_AT {
            known.retain(|_, (at, _)| at.elapsed() < KEY_LIFETIME);
        }
        if self.generation.load(Ordering::SeqCst) == generation {
            known.insert(id, (asked, Arc::clone(&key)));
        }
        Ok(Some(key))
    }

    fn fresh(&self, id: Uuid) -> Option<Arc<KnownKey>> {
        let known = self.known.read().expect("no holder of this lock panics");
        known
            .get(&id)
            .filter(|(at, _)| at.elapsed() < KEY_LIFETIME)
            .map(|(_, key)| Arc::clone(key))
    }

    /// Makes this replica look again; to be called when the change is committed.
    pub(crate) fn forget(&self) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        self.generation.fetch_add(1, Ordering::SeqCst);
        known.clear();
    }
}
