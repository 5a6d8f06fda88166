//! Sessions, which authenticate a browser that does not store a key.
//!
//! A sign-in with a key or a one-time link sets a cookie with a random token. No script can read the cookie, and no other
//! site can send it. Each request looks up the key of its session, so a session has the scopes of its key and ends when
//! the key is revoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::api_key::{Credentials, random_secret};
use super::auth::{Auth, CachedKey};
use super::ttl_cache::TtlCache;
use super::{Tenants, db};
use crate::database::Database;
use crate::http::error::{CROSS_SITE_REQUEST, Error, UNAUTHORIZED};
use crate::http::extract::{FieldValue, Fields, FromFields, Json, text};
use crate::http::peer::Peer;
use crate::http::routes::Routes;
use crate::ids::TenantId;

/// Maximum number of sessions of a key. Another sign-in ends the one that was used longest ago.
const MAX_SESSIONS: i64 = 100;

/// The cookie up to its value.
const COOKIE_PREFIX: &[u8] = b"couponry_session=";
/// The header that marks a request of the dashboard. Browsers do not let other sites send it.
const HEADER: HeaderName = HeaderName::from_static("x-couponry-session");
/// The value of the header.
const DASHBOARD: &str = "dashboard";
/// Lifetime of the cookie in seconds: 30 days, the maximum of a session. The service itself checks for an earlier expiry.
const MAX_AGE_SECONDS: u32 = 30 * 24 * 60 * 60;

pub(super) fn routes() -> Routes<Tenants> {
    Routes::new()
        .get("/v1/session", find)
        .post("/v1/session", sign_in)
        .delete("/v1/session", sign_out)
}

/// The SHA-256 of a session's token.
pub(crate) type TokenHash = [u8; 32];

/// The recently used sessions.
pub(crate) type SessionCache = TtlCache<TokenHash, CachedSession>;

/// A session as it was loaded from the database.
#[derive(Debug)]
pub(crate) struct CachedSession {
    pub tenant: TenantId,
    pub key_id: Uuid,
    /// The stored time of use is at least a minute old.
    pub last_used_is_stale: AtomicBool,
}

/// A session as the API returns it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionDetails {
    pub key_id: Uuid,
    pub key_name: String,
    pub tenant_name: String,
    pub scopes: Vec<String>,
    pub expires_at: DateTime<Utc>,
}

/// The session of a request. It has not expired; its key may be revoked.
pub(super) struct Session {
    token_hash: TokenHash,
    found: Arc<CachedSession>,
}

impl Session {
    pub(super) fn key_id(&self) -> Uuid {
        self.found.key_id
    }

    pub(super) async fn key(&self, auth: &Auth) -> Result<Arc<CachedKey>, Error> {
        auth.find_verified(self.found.key_id).await
    }

    /// Finds the session of a request and stores its use. Rejects a request that changes something without the
    /// dashboard's header.
    pub(super) async fn of(parts: &Parts, auth: &Auth) -> Result<Self, Error> {
        let token = token(&parts.headers)
            .ok_or_else(|| Error::refused(&UNAUTHORIZED, "There is no session. Sign in first."))?;
        let header = parts.headers.get(HEADER);
        if !parts.method.is_safe() && header.is_none_or(|value| value != DASHBOARD) {
            let detail = "With a session, requests other than GET and HEAD must have the header `X-Couponry-Session: dashboard`. Nothing was changed.";
            return Err(Error::refused(&CROSS_SITE_REQUEST, detail));
        }
        let token_hash = Sha256::digest(token).into();
        if !auth.sessions().was_found(&token_hash) {
            auth.attempts().check(Peer::of(parts))?;
        }
        let load = auth.database().with_system(async |connection| {
            db::sessions::find_session(connection, &token_hash).await
        });
        let found = auth.sessions().find(token_hash, load).await?;
        let Some(found) = found else {
            auth.attempts().count(Peer::of(parts));
            return Err(ended());
        };
        if found.last_used_is_stale.swap(false, Ordering::Relaxed) {
            let mut transaction = auth.database().tenant(found.tenant).await?;
            db::sessions::store_session_use(&mut transaction, found.tenant, &token_hash).await?;
            transaction.commit().await?;
        }
        Ok(Self { token_hash, found })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session
where
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Self::of(parts, &Auth::from_ref(state)).await
    }
}

fn ended() -> Error {
    Error::refused(&UNAUTHORIZED, "The session has ended. Sign in again.")
}

/// Returns true if a request has a session cookie, valid or not.
pub(super) fn is_presented(parts: &Parts) -> bool {
    token(&parts.headers).is_some()
}

/// Returns the value of the session cookie. Cookies of other services in the same header may contain any bytes.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .find_map(|cookie| cookie.trim_ascii().strip_prefix(COOKIE_PREFIX))
}

/// Builds the header that sets the cookie for `seconds` seconds. The service does not terminate TLS: `X-Forwarded-Proto`
/// of the proxy decides if the cookie is `Secure`.
fn set_cookie(headers: &HeaderMap, token: &str, seconds: u32) -> [(HeaderName, String); 1] {
    let proto = headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let is_https = proto.is_some_and(|proto| {
        let first = proto.split(|byte| *byte == b',').next();
        first.is_some_and(|first| first.trim_ascii().eq_ignore_ascii_case(b"https"))
    });
    let name = String::from_utf8_lossy(COOKIE_PREFIX);
    let secure = if is_https { "; Secure" } else { "" };
    let cookie =
        format!("{name}{token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    [(header::SET_COOKIE, cookie)]
}

/// The body of a sign-in.
enum SignInRequest {
    Key(String),
    /// The token of the one-time link.
    Link(String),
}

impl FromFields for SignInRequest {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        if fields.has("link") {
            fields.refuse("key", "Send `key` or `link`, not both.");
            fields
                .required("link")
                .map(|SecretText(token)| Self::Link(token))
        } else {
            fields.required("key").map(|SecretText(key)| Self::Key(key))
        }
    }
}

struct SecretText(String);

impl FieldValue for SecretText {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 255).map(Self)
    }
}

async fn sign_in(
    State(auth): State<Auth>,
    peer: Peer,
    headers: HeaderMap,
    Json(request): Json<SignInRequest>,
) -> Result<impl IntoResponse, Error> {
    let (key_id, key) = match request {
        SignInRequest::Key(key) => {
            let credentials = Credentials::parse_key(&key).ok_or_else(|| {
                let detail =
                    "This is not an API key. A key begins with `cpk_`; copy the complete key.";
                Error::refused(&UNAUTHORIZED, detail)
            })?;
            (credentials.id, auth.verify(credentials, peer).await?)
        }
        SignInRequest::Link(token) => {
            let key_id = auth.take_link(&token, peer)?.ok_or_else(|| {
                let detail = "The link was already used or is older than 15 minutes. Sign in with an API key, or restart the service to print a new link.";
                Error::refused(&UNAUTHORIZED, detail)
            })?;
            (key_id, auth.find_verified(key_id).await?)
        }
    };
    let token = random_secret();
    let token_hash = Sha256::digest(&token).into();
    let mut transaction = auth.database().tenant(key.tenant).await?;
    db::sessions::create_session(&mut transaction, key.tenant, &token_hash, key_id).await?;
    db::sessions::delete_old_sessions(&mut transaction, key.tenant, key_id, MAX_SESSIONS).await?;
    transaction.commit().await?;
    let session = describe(auth.database(), key.tenant, &token_hash).await?;
    let cookie = set_cookie(&headers, &token, MAX_AGE_SECONDS);
    Ok((StatusCode::CREATED, cookie, session))
}

async fn find(State(auth): State<Auth>, session: Session) -> Result<Json<SessionDetails>, Error> {
    session.key(&auth).await?;
    describe(auth.database(), session.found.tenant, &session.token_hash).await
}

async fn describe(
    database: &Database,
    tenant: TenantId,
    token_hash: &TokenHash,
) -> Result<Json<SessionDetails>, Error> {
    let session = database
        .with_system(async |connection| {
            db::sessions::find_session_details(connection, tenant, token_hash).await
        })
        .await?;
    session.map(Json).ok_or_else(ended)
}

/// Ends the session. Its key may be revoked.
async fn sign_out(
    State(auth): State<Auth>,
    session: Session,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    let tenant = session.found.tenant;
    let mut transaction = auth.database().tenant(tenant).await?;
    db::sessions::delete_session(&mut transaction, tenant, &session.token_hash).await?;
    transaction.commit().await?;
    auth.sessions().clear();
    Ok((StatusCode::NO_CONTENT, set_cookie(&headers, "", 0)))
}
