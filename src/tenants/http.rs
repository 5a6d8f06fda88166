//! `/admin/v1/tenants` for operators, `/v1/api-keys` and `/v1/session` for tenants.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use super::api_key::{ApiKey, IssuedApiKey, NewApiKey};
use super::auth::{ApiKeysRead, ApiKeysWrite, Auth, Caller, Operator};
use super::{
    NewTenant, Tenant, TenantPatch, TenantState, Tenants, db, key_sessions, operator, session,
};
use crate::database::Database;
use crate::http::error::{Error, MISSING_SCOPE};
use crate::http::extract::{Json, Path, Query};
use crate::http::page::{Page, Paging};
use crate::http::routes::Routes;

pub(super) fn routes() -> Routes<Tenants> {
    Routes::new()
        .post("/admin/v1/tenants", create_tenant)
        .get("/admin/v1/tenants", list_tenants)
        .patch("/admin/v1/tenants/{tenantId}", patch_tenant)
        .delete("/admin/v1/tenants/{tenantId}", delete_tenant)
        .post("/admin/v1/tenants/{tenantId}/suspend", suspend_tenant)
        .post("/admin/v1/tenants/{tenantId}/resume", resume_tenant)
        .post("/admin/v1/tenants/{tenantId}/api-keys", create_tenant_key)
        .get("/admin/v1/tenants/{tenantId}/api-keys", list_tenant_keys)
        .delete(
            "/admin/v1/tenants/{tenantId}/api-keys/{keyId}",
            revoke_tenant_key,
        )
        .get("/v1/api-keys", list_keys)
        .post("/v1/api-keys", create_key)
        .delete("/v1/api-keys/{keyId}", revoke_key)
        .merge(key_sessions::routes())
        .merge(session::routes())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

impl ListQuery {
    fn paging(&self) -> Result<Paging<Uuid>, Error> {
        Paging::new(self.limit, self.cursor.as_deref())
    }
}

type JsonResult<T> = Result<Json<T>, Error>;
type CreatedResult<T> = Result<(StatusCode, Json<T>), Error>;

async fn create_tenant(
    State(database): State<Database>,
    _: Operator,
    Json(new): Json<NewTenant>,
) -> CreatedResult<Tenant> {
    let tenant = database
        .with_system(async |connection| operator::create(connection, &new).await)
        .await?;
    Ok((StatusCode::CREATED, Json(tenant)))
}

async fn list_tenants(
    State(database): State<Database>,
    _: Operator,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> JsonResult<Page<Tenant>> {
    let paging = query.paging()?;
    let (after, back, rows) = (paging.key().copied(), paging.back(), paging.rows());
    let rows = database
        .with_system(async |connection| operator::list(connection, after, back, rows).await)
        .await?;
    Ok(Json(paging.page(rows, &uri, |tenant| tenant.id)))
}

async fn patch_tenant(
    State(auth): State<Auth>,
    _: Operator,
    Path(id): Path<Uuid>,
    Json(patch): Json<TenantPatch>,
) -> JsonResult<Tenant> {
    let tenant = auth
        .database()
        .with_system(async |connection| operator::patch(connection, id, &patch).await)
        .await?;
    auth.forget_keys();
    Ok(Json(tenant))
}

async fn suspend_tenant(
    State(auth): State<Auth>,
    _: Operator,
    Path(id): Path<Uuid>,
) -> JsonResult<Tenant> {
    set_state(&auth, id, TenantState::Suspended).await
}

async fn resume_tenant(
    State(auth): State<Auth>,
    _: Operator,
    Path(id): Path<Uuid>,
) -> JsonResult<Tenant> {
    set_state(&auth, id, TenantState::Active).await
}

async fn set_state(auth: &Auth, id: Uuid, state: TenantState) -> JsonResult<Tenant> {
    let tenant = auth
        .database()
        .with_system(async |connection| operator::set_state(connection, id, state).await)
        .await?;
    auth.forget_keys();
    Ok(Json(tenant))
}

async fn delete_tenant(
    State(auth): State<Auth>,
    _: Operator,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<Tenant>), Error> {
    let tenant = auth
        .database()
        .with_system(async |connection| operator::delete(connection, id).await)
        .await?;
    auth.forget_keys();
    Ok((StatusCode::ACCEPTED, Json(tenant)))
}

async fn create_tenant_key(
    State(database): State<Database>,
    _: Operator,
    Path(id): Path<Uuid>,
    Json(new): Json<NewApiKey>,
) -> CreatedResult<IssuedApiKey> {
    let issued = database
        .with_system(async |connection| operator::create_key(connection, id, new).await)
        .await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

async fn list_tenant_keys(
    State(database): State<Database>,
    _: Operator,
    OriginalUri(uri): OriginalUri,
    Path(id): Path<Uuid>,
    Query(query): Query<ListQuery>,
) -> JsonResult<Page<ApiKey>> {
    let paging = query.paging()?;
    let (after, back, rows) = (paging.key().copied(), paging.back(), paging.rows());
    let rows = database
        .with_system(async |connection| {
            operator::list_keys(connection, id, after, back, rows).await
        })
        .await?;
    Ok(Json(paging.page(rows, &uri, |key| key.id)))
}

async fn revoke_tenant_key(
    State(auth): State<Auth>,
    _: Operator,
    Path((id, key)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, Error> {
    auth.database()
        .with_system(async |connection| operator::revoke_key(connection, id, key).await)
        .await?;
    auth.forget_keys();
    Ok(StatusCode::NO_CONTENT)
}

async fn create_key(
    State(database): State<Database>,
    caller: Caller<ApiKeysWrite>,
    Json(new): Json<NewApiKey>,
) -> CreatedResult<IssuedApiKey> {
    if let Some(scope) = caller.scopes.first_missing(&new.scopes) {
        let detail = format!(
            "A key can grant only the scopes that it has. This key does not have `{scope}`."
        );
        return Err(Error::refused(&MISSING_SCOPE, detail).with("scope", scope));
    }
    let issued = database
        .with_tenant(caller.tenant, async |connection| {
            operator::issue(connection, caller.tenant, new).await
        })
        .await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

async fn list_keys(
    State(database): State<Database>,
    caller: Caller<ApiKeysRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> JsonResult<Page<ApiKey>> {
    let paging = query.paging()?;
    let (after, back, rows) = (paging.key().copied(), paging.back(), paging.rows());
    let rows = database
        .with_tenant(caller.tenant, async |connection| {
            db::keys::list_api_keys(connection, caller.tenant, after, back, rows).await
        })
        .await?;
    Ok(Json(paging.page(rows, &uri, |key| key.id)))
}

async fn revoke_key(
    State(auth): State<Auth>,
    caller: Caller<ApiKeysWrite>,
    Path(key): Path<Uuid>,
) -> Result<StatusCode, Error> {
    auth.database()
        .with_tenant(caller.tenant, async |connection| {
            operator::revoke(connection, caller.tenant, key).await
        })
        .await?;
    auth.forget_keys();
    Ok(StatusCode::NO_CONTENT)
}
