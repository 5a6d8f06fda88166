//! Authentication: `Caller<Scope>` and `Operator`, the extractors that every handler names in its signature.
//!
//! They work in every feature whose state holds `Auth`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::{header, request};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_key::{Presented, Scopes};
use super::db;
use super::known::Known;
use super::link::OneTimeLink;
use super::session::{self, Session, Sessions};
use crate::database::Database;
use crate::http::error::{Error, MISSING_SCOPE, TENANT_SUSPENDED, UNAUTHORIZED, UNKNOWN_PATH};
use crate::ids::TenantId;
use crate::text_enum::text_enum;

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

text_enum! {
    /// How a caller presents its key.
    pub(crate) enum Origin {
        /// Itself, as programs do.
        Api = "api",
        /// By a session of the dashboard.
        App = "app",
    }
}

/// What authentication works with: the keys and sessions that were seen lately, and where the others are. A clone counts one
/// reference. It has no `Debug`, so that no log can show the token.
#[derive(Clone)]
pub(crate) struct Auth(Arc<Parts>);

struct Parts {
    database: Database,
    keys: Keys,
    sessions: Sessions,
    link: OneTimeLink,
    operator_token: Option<String>,
}

impl Auth {
    /// Without a token there is no operator.
    pub(crate) fn new(database: &Database, operator_token: Option<String>) -> Self {
        Self(Arc::new(Parts {
            database: database.clone(),
            keys: Keys::default(),
            sessions: Sessions::default(),
            link: OneTimeLink::default(),
            operator_token,
        }))
    }

    pub(super) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Makes this replica look up keys anew; to be called when a change of keys is committed.
    pub(super) fn forget_keys(&self) {
        self.0.keys.forget();
    }

    /// Makes the link that signs in to the demo tenant once, and returns its token. There is none if the demo's key was
    /// revoked.
    pub(crate) async fn make_demo_link(&self) -> sqlx::Result<Option<String>> {
        let key_id = db::find_demo_key(self.0.database.system()).await?;
        Ok(key_id.map(|key_id| self.0.link.make(key_id, Instant::now())))
    }

    /// The key of the one-time link, once.
    pub(super) fn take_link(&self, token: &str) -> Option<Uuid> {
        self.0.link.take(token, Instant::now())
    }

    /// The key that is presented, if its secret is right and its tenant may use it.
    pub(super) async fn verify(&self, presented: Presented<'_>) -> Result<Arc<KnownKey>, Error> {
        let key = self.find(presented.id).await?;
        let key = key
            .filter(|key| presented.proves(&key.secret_hash))
            .ok_or_else(|| {
                Error::refused(&UNAUTHORIZED, "The API key is not valid or was revoked.")
            })?;
        self.admit(presented.id, &key).await?;
        Ok(key)
    }

    /// The key of this id, for a caller that proved it before.
    pub(super) async fn find_proved(&self, id: Uuid) -> Result<Arc<KnownKey>, Error> {
        let key = self.find(id).await?.ok_or_else(|| {
            let detail = "The API key of the session was revoked. Sign in with another key.";
            Error::refused(&UNAUTHORIZED, detail)
        })?;
        self.admit(id, &key).await?;
        Ok(key)
    }

    async fn find(&self, id: Uuid) -> Result<Option<Arc<KnownKey>>, Error> {
        let load = db::find_api_key(self.0.database.system(), id);
        self.0.keys.find(id, load).await
    }

    /// Stores that the key is used, and refuses it while its tenant is suspended.
    async fn admit(&self, id: Uuid, key: &KnownKey) -> Result<(), Error> {
        // Once a minute at most, and only for a caller that has proved the key.
        if key.unnoted.swap(false, Ordering::Relaxed) {
            db::note_use(self.0.database.system(), key.tenant, id).await?;
        }
        if key.suspended {
            return Err(Error::refused(
                &TENANT_SUSPENDED,
                "The operator has suspended this tenant.",
            ));
        }
        Ok(())
    }
}

/// A caller whose key was verified and has the scope `P`.
#[derive(Debug)]
pub(crate) struct Caller<P> {
    pub tenant: TenantId,
    /// The id of the key that was presented.
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
        let by_session =
            !parts.headers.contains_key(header::AUTHORIZATION) && session::is_presented(parts);
        let (id, key, origin) = if by_session {
            let session = Session::of(parts, &auth).await?;
            (session.key_id(), session.key(&auth).await?, Origin::App)
        } else {
            let presented = parts
                .headers
                .get(header::AUTHORIZATION)
                .and_then(|value| Presented::parse(value.to_str().ok()?))
                .ok_or_else(|| {
                    Error::refused(&UNAUTHORIZED, "Send an API key as `Authorization: Bearer cpk_…` or `Authorization: apiKey <id>:<secret>`.")
                })?;
            (presented.id, auth.verify(presented).await?, Origin::Api)
        };
        if !key.scopes.allow(P::NAME) {
            return Err(Error::refused(
                &MISSING_SCOPE,
                format!("The key needs the scope `{}`.", P::NAME),
            )
            .with("scope", P::NAME));
        }
        Ok(Self {
            tenant: key.tenant,
            key: id,
            scopes: key.scopes.clone(),
            origin,
            scope: PhantomData,
        })
    }
}

/// The operator of the service. Without a configured token there is none, and `/admin` does not exist.
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
        // Hashes have one length, so the comparison reveals nothing about the token's.
        if bool::from(Sha256::digest(presented).ct_eq(&Sha256::digest(token))) {
            Ok(Self)
        } else {
            Err(Error::refused(
                &UNAUTHORIZED,
                "The operator token is not valid.",
            ))
        }
    }
}

/// The keys that were seen lately.
pub(crate) type Keys = Known<Uuid, KnownKey>;

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
