//! Authentication: the extractors `Caller<Scope>` and `Operator`, for handlers of every feature whose state holds `Auth`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::{header, request};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_key::{Credentials, Scopes};
use super::db;
use super::link::OneTimeLink;
use super::rate_limit::{Attempts, RateLimit, RateLimits};
use super::session::{self, Session, SessionCache};
use super::ttl_cache::TtlCache;
use crate::database::Database;
use crate::http::error::{Error, MISSING_SCOPE, TENANT_SUSPENDED, UNAUTHORIZED, UNKNOWN_PATH};
use crate::http::peer::Peer;
use crate::http::rate_status::RateSlot;
use crate::ids::TenantId;
use crate::text_enum::text_enum;

/// A permission that a handler requires by the type of its `Caller`.
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

text_enum! {
    /// The way in which a caller authenticates.
    pub(crate) enum Origin {
        /// By an API key in the request.
        Api = "api",
        /// By a session of the dashboard.
        App = "app",
    }
}

/// The state of authentication: caches of keys and sessions, and the database that they are loaded from. A clone counts
/// one reference. Has no `Debug`, so that no log can contain the operator token.
#[derive(Clone)]
pub(crate) struct Auth(Arc<Parts>);

struct Parts {
    database: Database,
    keys: KeyCache,
    sessions: SessionCache,
    link: OneTimeLink,
    operator_token: Option<String>,
    attempts: Attempts,
    rates: RateLimits,
}

impl Auth {
    /// Without a token, `/admin` is disabled. `rate_limit` is that of tenants without one of their own.
    pub(crate) fn new(
        database: &Database,
        operator_token: Option<String>,
        rate_limit: Option<RateLimit>,
    ) -> Self {
        Self(Arc::new(Parts {
            database: database.clone(),
            keys: KeyCache::default(),
            sessions: SessionCache::default(),
            link: OneTimeLink::default(),
            operator_token,
            attempts: Attempts::default(),
            rates: RateLimits::new(rate_limit),
        }))
    }

    pub(super) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(super) fn sessions(&self) -> &SessionCache {
        &self.0.sessions
    }

    /// Clears the key cache of this replica. Call it after a change of keys or of a tenant's state is committed.
    pub(super) fn forget_keys(&self) {
        self.0.keys.clear();
    }

    /// Issues the one-time link that signs in to the demo tenant, and returns its token. Returns `None` if the demo's key
    /// was revoked.
    pub(crate) async fn make_demo_link(&self) -> sqlx::Result<Option<String>> {
        let key_id = self.0.database.with_system(db::keys::find_demo_key).await?;
        Ok(key_id.map(|key_id| self.0.link.issue(key_id, Instant::now())))
    }

    /// Takes the one-time link, and returns its key if the token is valid. Fails if there were too many attempts.
    pub(super) fn take_link(&self, token: &str, peer: Peer) -> Result<Option<Uuid>, Error> {
        self.0.attempts.check(peer)?;
        let key = self.0.link.take(token, Instant::now());
        if key.is_none() {
            self.0.attempts.count(peer);
        }
        Ok(key)
    }

    pub(super) fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// Returns the key of these credentials. Fails if the secret is wrong or the tenant is suspended.
    pub(super) async fn verify(
        &self,
        credentials: Credentials<'_>,
        peer: Peer,
    ) -> Result<Arc<CachedKey>, Error> {
        if !self.0.keys.was_found(&credentials.id) {
            self.0.attempts.check(peer)?;
        }
        let found = self.find(credentials.id).await?;
        let is_known = found.is_some();
        let key = found.filter(|key| credentials.match_hash(&key.secret_hash));
        let Some(key) = key else {
            self.0.attempts.check(peer)?;
            self.0.attempts.count(peer);
            if is_known {
                // As long as for an unknown id, which is looked up each time, so that the time does not tell them apart.
                self.load(credentials.id).await?;
            }
            let detail = "The API key is not valid or was revoked.";
            return Err(Error::refused(&UNAUTHORIZED, detail));
        };
        self.admit(credentials.id, &key).await?;
        Ok(key)
    }

    /// Returns the key of this id, for a session or link whose creation verified it. Fails if the key was revoked or the
    /// tenant is suspended.
    pub(super) async fn find_verified(&self, id: Uuid) -> Result<Arc<CachedKey>, Error> {
        let key = self.find(id).await?.ok_or_else(|| {
            let detail = "The API key of the session was revoked. Sign in with another key.";
            Error::refused(&UNAUTHORIZED, detail)
        })?;
        self.admit(id, &key).await?;
        Ok(key)
    }

    async fn find(&self, id: Uuid) -> Result<Option<Arc<CachedKey>>, Error> {
        self.0.keys.find(id, self.load(id)).await
    }

    async fn load(&self, id: Uuid) -> sqlx::Result<Option<CachedKey>> {
        let database = &self.0.database;
        database
            .with_system(async |connection| db::keys::find_api_key(connection, id).await)
            .await
    }

    /// Stores the time of use, and rejects the key while its tenant is suspended.
    async fn admit(&self, id: Uuid, key: &CachedKey) -> Result<(), Error> {
        // At most once a minute, and only for verified keys.
        if key.last_used_is_stale.swap(false, Ordering::Relaxed) {
            let database = &self.0.database;
            database
                .with_system(async |connection| {
                    db::keys::store_key_use(connection, key.tenant, id).await
                })
                .await?;
        }
        if key.suspended {
            return Err(Error::refused(
                &TENANT_SUSPENDED,
                "The operator has suspended or deleted this tenant.",
            ));
        }
        Ok(())
    }
}

/// A caller whose key was verified and has the scope `P`.
#[derive(Debug)]
pub(crate) struct Caller<P> {
    pub tenant: TenantId,
    /// The id of the verified key.
    pub key: Uuid,
    pub scopes: Scopes,
    pub origin: Origin,
    scope: PhantomData<P>,
}

impl<S: Send + Sync, P: Scope> FromRequestParts<S> for Caller<P>
where
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Error> {
        let auth = Auth::from_ref(state);
        let peer = Peer::of(parts);
        let by_session =
            !parts.headers.contains_key(header::AUTHORIZATION) && session::is_presented(parts);
        let (id, key, origin) = if by_session {
            let session = Session::of(parts, &auth).await?;
            (session.key_id(), session.key(&auth).await?, Origin::App)
        } else {
            let credentials = parts
                .headers
                .get(header::AUTHORIZATION)
                .and_then(|value| Credentials::parse(value.to_str().ok()?))
                .ok_or_else(|| {
                    Error::refused(&UNAUTHORIZED, "Send an API key as `Authorization: Bearer cpk_…` or `Authorization: apiKey <id>:<secret>`.")
                })?;
            (
                credentials.id,
                auth.verify(credentials, peer).await?,
                Origin::Api,
            )
        };
        let slot = parts.extensions.get::<RateSlot>();
        auth.0.rates.check(key.tenant, key.rate_limit, slot)?;
        if !key.scopes.allow(P::NAME) {
            return Err(Error::refused(
                &MISSING_SCOPE,
                format!("The key needs the scope `{}`.", P::NAME),
            )
            .with("scope", P::NAME));
        }
        // For extractors that limit what a tenant may use.
        parts.extensions.insert(key.tenant);
        Ok(Self {
            tenant: key.tenant,
            key: id,
            scopes: key.scopes.clone(),
            origin,
            scope: PhantomData,
        })
    }
}

/// The operator of the service. Without a configured token every request is rejected as an unknown path.
#[derive(Debug)]
pub(crate) struct Operator;

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Error> {
        let auth = Auth::from_ref(state);
        let Some(token) = &auth.0.operator_token else {
            return Err(Error::refused(
                &UNKNOWN_PATH,
                "`/admin` is disabled because COUPONRY_OPERATOR_TOKEN is not set.",
            ));
        };
        let sent = parts
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
        // Hashes have equal lengths, so the comparison does not reveal the length of the token.
        if bool::from(Sha256::digest(sent).ct_eq(&Sha256::digest(token))) {
            Ok(Self)
        } else {
            auth.0.attempts.check(Peer::of(parts))?;
            auth.0.attempts.count(Peer::of(parts));
            Err(Error::refused(
                &UNAUTHORIZED,
                "The operator token is not valid.",
            ))
        }
    }
}

/// The recently used keys.
pub(crate) type KeyCache = TtlCache<Uuid, CachedKey>;

/// A key as it was loaded from the database.
#[derive(Debug)]
pub(crate) struct CachedKey {
    pub tenant: TenantId,
    pub secret_hash: Vec<u8>,
    pub scopes: Scopes,
    pub suspended: bool,
    /// The limit of the tenant, if the operator has set one.
    pub rate_limit: Option<RateLimit>,
    /// The stored time of use is at least a minute old.
    pub last_used_is_stale: AtomicBool,
}
