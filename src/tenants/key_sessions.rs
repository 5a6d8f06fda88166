//! The sessions of an API key, as the tenant lists and ends them.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::auth::{ApiKeysRead, ApiKeysWrite, Auth, Caller};
use super::{Tenants, db};
use crate::http::error::Error;
use crate::http::extract::{Json, Path};
use crate::http::routes::Routes;

pub(super) fn routes() -> Routes<Tenants> {
    Routes::new()
        .get("/v1/api-keys/{keyId}/sessions", list)
        .delete("/v1/api-keys/{keyId}/sessions/{sessionId}", end)
}

/// A session of a key. Its token cannot be derived from `id`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeySession {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    /// Stored at most once a minute.
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// All sessions of a key. There are no pages because a key has at most `MAX_SESSIONS` sessions.
#[derive(Debug, Serialize)]
struct KeySessions {
    results: Vec<KeySession>,
}

async fn list(
    State(auth): State<Auth>,
    caller: Caller<ApiKeysRead>,
    Path(key): Path<Uuid>,
) -> Result<Json<KeySessions>, Error> {
    let results = auth
        .database()
        .with_tenant(caller.tenant, async |connection| {
            if !db::keys::has_api_key(connection, caller.tenant, key).await? {
                return Err(Error::not_found("API key"));
            }
            Ok(db::sessions::list_key_sessions(connection, caller.tenant, key).await?)
        })
        .await?;
    Ok(Json(KeySessions { results }))
}

/// Ends a session at this replica at once, and at the others when their cached entry expires.
async fn end(
    State(auth): State<Auth>,
    caller: Caller<ApiKeysWrite>,
    Path((key, session)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, Error> {
    let is_deleted = auth
        .database()
        .with_tenant(caller.tenant, async |connection| {
            db::sessions::delete_key_session(connection, caller.tenant, key, session).await
        })
        .await?;
    if !is_deleted {
        return Err(Error::not_found("session"));
    }
    auth.sessions().clear();
    Ok(StatusCode::NO_CONTENT)
}
