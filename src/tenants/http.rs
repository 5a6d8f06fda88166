//! `/admin/v1/tenants` for operators, `/v1/api-keys` and `/v1/session` for tenants.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::api_key::{ApiKey, IssuedApiKey, NewApiKey};
use super::auth::{ApiKeysRead, ApiKeysWrite, Caller, Operator};
use super::{NewTenant, Tenant, TenantId, TenantState, db, session};
use crate::app::App;
use crate::error::{Error, MISSING_SCOPE};
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/admin/v1/tenants", post(create_tenant).get(list_tenants))
        .route("/admin/v1/tenants/{tenantId}/suspend", post(suspend_tenant))
        .route("/admin/v1/tenants/{tenantId}/resume", post(resume_tenant))
        .route(
            "/admin/v1/tenants/{tenantId}/api-keys",
            post(create_tenant_key).get(list_tenant_keys),
        )
        .route(
            "/admin/v1/tenants/{tenantId}/api-keys/{keyId}",
            delete(revoke_tenant_key),
        )
        .route("/v1/api-keys", get(list_keys).post(create_key))
        .route("/v1/api-keys/{keyId}", delete(revoke_key))
        .merge(session::router())
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

type Answer<T> = Result<Json<T>, Error>;
type Created<T> = Result<(StatusCode, Json<T>), Error>;

async fn create_tenant(
    State(app): State<App>,
    _: Operator,
    Json(new): Json<NewTenant>,
) -> Created<Tenant> {
    let mut connection = app.database.system().acquire().await?;
    let tenant = db::create(&mut connection, Uuid::now_v7(), &new.name.0).await?;
    Ok((StatusCode::CREATED, Json(tenant)))
}

async fn list_tenants(
    State(app): State<App>,
    _: Operator,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Answer<Page<Tenant>> {
    let paging = query.paging()?;
    let mut connection = app.database.system().acquire().await?;
    let rows = db::list(
        &mut connection,
        paging.key().copied(),
        paging.back(),
        paging.rows(),
    )
    .await?;
    Ok(Json(paging.page(rows, &uri, |tenant| tenant.id)))
}

async fn suspend_tenant(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<Uuid>,
) -> Answer<Tenant> {
    set_state(&app, id, TenantState::Suspended).await
}

async fn resume_tenant(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<Uuid>,
) -> Answer<Tenant> {
    set_state(&app, id, TenantState::Active).await
}

async fn set_state(app: &App, id: Uuid, state: TenantState) -> Answer<Tenant> {
    let mut connection = app.database.system().acquire().await?;
    let tenant = db::set_state(&mut connection, id, state)
        .await?
        .ok_or_else(|| Error::not_found("tenant"))?;
    app.keys.forget();
    Ok(Json(tenant))
}

async fn find_tenant(connection: &mut PgConnection, id: Uuid) -> Result<TenantId, Error> {
    db::find(connection, id)
        .await?
        .ok_or_else(|| Error::not_found("tenant"))
}

async fn create_tenant_key(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<Uuid>,
    Json(new): Json<NewApiKey>,
) -> Created<IssuedApiKey> {
    let mut connection = app.database.system().acquire().await?;
    let tenant = find_tenant(&mut connection, id).await?;
    issue(&mut connection, tenant, new).await
}

async fn list_tenant_keys(
    State(app): State<App>,
    _: Operator,
    OriginalUri(uri): OriginalUri,
    Path(id): Path<Uuid>,
    Query(query): Query<ListQuery>,
) -> Answer<Page<ApiKey>> {
    let paging = query.paging()?;
    let mut connection = app.database.system().acquire().await?;
    let tenant = find_tenant(&mut connection, id).await?;
    let rows = db::list_api_keys(
        &mut connection,
        tenant,
        paging.key().copied(),
        paging.back(),
        paging.rows(),
    )
    .await?;
    Ok(Json(paging.page(rows, &uri, |key| key.id)))
}

async fn revoke_tenant_key(
    State(app): State<App>,
    _: Operator,
    Path((id, key)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, Error> {
    let mut connection = app.database.system().acquire().await?;
    let tenant = find_tenant(&mut connection, id).await?;
    let done = revoke(&mut connection, tenant, key).await?;
    app.keys.forget();
    Ok(done)
}

async fn create_key(
    State(app): State<App>,
    caller: Caller<ApiKeysWrite>,
    Json(new): Json<NewApiKey>,
) -> Created<IssuedApiKey> {
    if let Some(scope) = caller.scopes.lacking(&new.scopes) {
        let detail = format!(
            "A key can grant only the scopes that it has. This key does not have `{scope}`."
        );
        return Err(Error::refused(&MISSING_SCOPE, detail).with("scope", scope));
    }
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let issued = issue(&mut transaction, caller.tenant, new).await?;
    transaction.commit().await?;
    Ok(issued)
}

async fn list_keys(
    State(app): State<App>,
    caller: Caller<ApiKeysRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Answer<Page<ApiKey>> {
    let paging = query.paging()?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let rows = db::list_api_keys(
        &mut transaction,
        caller.tenant,
        paging.key().copied(),
        paging.back(),
        paging.rows(),
    )
    .await?;
    transaction.commit().await?;
    Ok(Json(paging.page(rows, &uri, |key| key.id)))
}

async fn revoke_key(
    State(app): State<App>,
    caller: Caller<ApiKeysWrite>,
    Path(key): Path<Uuid>,
) -> Result<StatusCode, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let done = revoke(&mut transaction, caller.tenant, key).await?;
    transaction.commit().await?;
    app.keys.forget();
    Ok(done)
}

async fn issue(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: NewApiKey,
) -> Created<IssuedApiKey> {
    let (stored, key) = new.issue();
    let api_key = db::create_api_key(connection, tenant, &stored).await?;
    Ok((StatusCode::CREATED, Json(IssuedApiKey { api_key, key })))
}

async fn revoke(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: Uuid,
) -> Result<StatusCode, Error> {
    if !db::revoke_api_key(connection, tenant, key).await? {
        return Err(Error::not_found("API key"));
    }
    Ok(StatusCode::NO_CONTENT)
}
