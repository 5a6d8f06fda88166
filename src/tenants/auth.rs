//! Who calls: `Caller<Scope>` and `Operator`, the extractors that every handler names in its signature.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_key::{Presented, Scopes};
use super::known::Known;
use super::session::{self, Session};
use super::{TenantId, db};
use crate::app::App;
use crate::error::{Error, MISSING_SCOPE, TENANT_SUSPENDED, UNAUTHORIZED, UNKNOWN_PATH};
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

/// A caller whose key was verified and has the scope `S`.
#[derive(Debug)]
pub(crate) struct Caller<S> {
    pub tenant: TenantId,
    /// The id of the key that was presented.
    pub key: Uuid,
    pub scopes: Scopes,
    pub origin: Origin,
    scope: PhantomData<S>,
}

impl<S: Scope> FromRequestParts<App> for Caller<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let by_session =
            !parts.headers.contains_key(header::AUTHORIZATION) && session::is_presented(parts);
        let (id, key, origin) = if by_session {
            let session = Session::from_request_parts(parts, app).await?;
            (session.key_id(), session.key(app).await?, Origin::App)
        } else {
            let presented = parts
                .headers
                .get(header::AUTHORIZATION)
                .and_then(|value| Presented::parse(value.to_str().ok()?))
                .ok_or_else(|| {
                    Error::refused(&UNAUTHORIZED, "Send an API key as `Authorization: Bearer cpk_…` or `Authorization: apiKey <id>:<secret>`.")
                })?;
            (presented.id, verify(app, presented).await?, Origin::Api)
        };
        if !key.scopes.allow(S::NAME) {
            return Err(Error::refused(
                &MISSING_SCOPE,
                format!("The key needs the scope `{}`.", S::NAME),
            )
            .with("scope", S::NAME));
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

/// The key that is presented, if that is proved and its tenant may use it.
pub(super) async fn verify(app: &App, presented: Presented<'_>) -> Result<Arc<KnownKey>, Error> {
    let key = find(app, presented.id).await?;
    let key = key
        .filter(|key| presented.proves(&key.secret_hash))
        .ok_or_else(|| Error::refused(&UNAUTHORIZED, "The API key is not valid or was revoked."))?;
    admit(app, presented.id, &key).await?;
    Ok(key)
}

/// The key of this id, for whom it was proved before.
pub(super) async fn find_proved(app: &App, id: Uuid) -> Result<Arc<KnownKey>, Error> {
    let key = find(app, id).await?.ok_or_else(|| {
        let detail = "The API key of the session was revoked. Sign in with another key.";
        Error::refused(&UNAUTHORIZED, detail)
    })?;
    admit(app, id, &key).await?;
    Ok(key)
}

async fn find(app: &App, id: Uuid) -> Result<Option<Arc<KnownKey>>, Error> {
    let load = db::find_api_key(app.database.system(), id);
    app.keys.find(id, load).await
}

/// Notes the use of a key, and refuses it while its tenant is suspended.
async fn admit(app: &App, id: Uuid, key: &KnownKey) -> Result<(), Error> {
    // Once a minute at most, and only for who has proved the key.
    if key.unnoted.swap(false, Ordering::Relaxed) {
        db::note_use(app.database.system(), key.tenant, id).await?;
    }
    if key.suspended {
        return Err(Error::refused(
            &TENANT_SUSPENDED,
            "The operator has suspended this tenant.",
        ));
    }
    Ok(())
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
        // Hashes have one length, so the comparison tells nothing about the token's.
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
