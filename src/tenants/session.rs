//! Sessions: how a browser presents a key that it does not have.
//!
//! Who signs in with a key, or with the link of the start, gets a random token in a cookie that no script can read and no
//! other site can send. A session is asked for its key at each request, so it can do what the key can and ends with it.

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

use super::api_key::{Presented, random_secret};
use super::auth::{Auth, KnownKey};
use super::known::Known;
use super::{Tenants, db};
use crate::database::Database;
use crate::http::error::{CROSS_SITE_REQUEST, Error, UNAUTHORIZED};
use crate::http::extract::{FieldValue, Fields, FromFields, Json, text};
use crate::http::routes::Routes;
use crate::ids::TenantId;

/// The beginning of the cookie, up to its value.
const COOKIE: &[u8] = b"couponry_session=";
/// The header that shows that a request was made by the dashboard: a browser lets no other site send it.
const HEADER: HeaderName = HeaderName::from_static("x-couponry-session");
/// What the header says.
const DASHBOARD: &str = "dashboard";
/// The most that a session may last, in seconds: 30 days. Within them the service knows whether it has expired.
const LONGEST: u32 = 30 * 24 * 60 * 60;

pub(super) fn routes() -> Routes<Tenants> {
    Routes::new()
        .get("/v1/session", find)
        .post("/v1/session", sign_in)
        .delete("/v1/session", sign_out)
}

/// The SHA-256 of the token of a session.
pub(crate) type TokenHash = [u8; 32];

/// The sessions that were seen lately.
pub(crate) type Sessions = Known<TokenHash, KnownSession>;

/// A session as it was found in the database.
#[derive(Debug)]
pub(crate) struct KnownSession {
    pub tenant: TenantId,
    pub key_id: Uuid,
    /// The use that is noted is a minute old or older.
    pub unnoted: AtomicBool,
}

/// A session as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionOfKey {
    pub key_id: Uuid,
    pub key_name: String,
    pub tenant_name: String,
    pub scopes: Vec<String>,
    pub expires_at: DateTime<Utc>,
}

/// The session of a request, which has not expired.
pub(super) struct Session {
    token_hash: TokenHash,
    found: Arc<KnownSession>,
}

impl Session {
    pub(super) fn key_id(&self) -> Uuid {
        self.found.key_id
    }

    pub(super) async fn key(&self, auth: &Auth) -> Result<Arc<KnownKey>, Error> {
        auth.find_proved(self.found.key_id).await
    }

    /// Finds the session that a request presents.
    pub(super) async fn of(parts: &Parts, auth: &Auth) -> Result<Self, Error> {
        let token = token(&parts.headers)
            .ok_or_else(|| Error::refused(&UNAUTHORIZED, "There is no session. Sign in first."))?;
        let shown = parts.headers.get(HEADER);
        if !parts.method.is_safe() && shown.is_none_or(|value| value != DASHBOARD) {
            let detail = "With a session, requests other than GET and HEAD must have the header `X-Couponry-Session: dashboard`. Nothing was changed.";
            return Err(Error::refused(&CROSS_SITE_REQUEST, detail));
        }
        let token_hash = Sha256::digest(token).into();
        let load = db::find_session(auth.database().system(), &token_hash);
        let found = auth.sessions().find(token_hash, load).await?;
        let found = found.ok_or_else(ended)?;
        if found.unnoted.swap(false, Ordering::Relaxed) {
            let mut transaction = auth.database().tenant(found.tenant).await?;
            db::note_use_of_session(&mut transaction, found.tenant, &token_hash).await?;
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

/// Whether a request comes with a session, valid or not.
pub(super) fn is_presented(parts: &Parts) -> bool {
    token(&parts.headers).is_some()
}

/// The cookie's value. What else is in the header may be of other services and of any bytes.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .find_map(|cookie| cookie.trim_ascii().strip_prefix(COOKIE))
}

/// The header that gives the cookie to the browser, for so many seconds. The service speaks no TLS itself: the proxy in
/// front says whether the browser does.
fn set_cookie(headers: &HeaderMap, token: &str, seconds: u32) -> [(HeaderName, String); 1] {
    let proto = headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let by_tls = proto.is_some_and(|proto| {
        let first = proto.split(|byte| *byte == b',').next();
        first.is_some_and(|first| first.trim_ascii().eq_ignore_ascii_case(b"https"))
    });
    let name = String::from_utf8_lossy(COOKIE);
    let secure = if by_tls { "; Secure" } else { "" };
    let cookie =
        format!("{name}{token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    [(header::SET_COOKIE, cookie)]
}

/// What somebody signs in with.
enum Proof {
    Key(String),
    /// The token of the link that the start has printed.
    Link(String),
}

impl FromFields for Proof {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        if fields.has("link") {
            fields.refuse("key", "Send `key` or `link`, not both.");
            fields
                .required("link")
                .map(|Secret(token)| Self::Link(token))
        } else {
            fields.required("key").map(|Secret(key)| Self::Key(key))
        }
    }
}

struct Secret(String);

impl FieldValue for Secret {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 255).map(Self)
    }
}

async fn sign_in(
    State(auth): State<Auth>,
    headers: HeaderMap,
    Json(proof): Json<Proof>,
) -> Result<impl IntoResponse, Error> {
    let (key_id, key) = match proof {
        Proof::Key(key) => {
            let presented = Presented::parse_key(&key).ok_or_else(|| {
                let detail =
                    "This is not an API key. A key begins with `cpk_`; copy the complete key.";
                Error::refused(&UNAUTHORIZED, detail)
            })?;
            (presented.id, auth.verify(presented).await?)
        }
        Proof::Link(token) => {
            let key_id = auth.take_link(&token).ok_or_else(|| {
                let detail = "The link was already used or is older than 15 minutes. Sign in with an API key, or restart the service to print a new link.";
                Error::refused(&UNAUTHORIZED, detail)
            })?;
            (key_id, auth.find_proved(key_id).await?)
        }
    };
    let token = random_secret();
    let token_hash = Sha256::digest(&token).into();
    let mut transaction = auth.database().tenant(key.tenant).await?;
    db::delete_expired_sessions(&mut transaction, key.tenant).await?;
    db::create_session(&mut transaction, key.tenant, &token_hash, key_id).await?;
    transaction.commit().await?;
    let session = describe(auth.database(), key.tenant, &token_hash).await?;
    let cookie = set_cookie(&headers, &token, LONGEST);
    Ok((StatusCode::CREATED, cookie, session))
}

async fn find(State(auth): State<Auth>, session: Session) -> Result<Json<SessionOfKey>, Error> {
    session.key(&auth).await?;
    describe(auth.database(), session.found.tenant, &session.token_hash).await
}

async fn describe(
    database: &Database,
    tenant: TenantId,
    token_hash: &TokenHash,
) -> Result<Json<SessionOfKey>, Error> {
    let session = db::find_session_of_key(database.system(), tenant, token_hash).await?;
    session.map(Json).ok_or_else(ended)
}

/// Also for a session whose key was revoked: all that it ends is itself.
async fn sign_out(
    State(auth): State<Auth>,
    session: Session,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    let tenant = session.found.tenant;
    let mut transaction = auth.database().tenant(tenant).await?;
    db::delete_session(&mut transaction, tenant, &session.token_hash).await?;
    transaction.commit().await?;
    auth.sessions().forget();
    Ok((StatusCode::NO_CONTENT, set_cookie(&headers, "", 0)))
}
