//! Operations of the operator, for `/admin` and the command line. The caller owns the transaction, which is one of
//! `Database::system`.

use sqlx::PgConnection;
use uuid::Uuid;

use super::api_key::{ApiKey, IssuedApiKey, NewApiKey};
use super::{NewTenant, Tenant, TenantPatch, TenantState, db};
use crate::http::error::{Error, WRONG_STATE};
use crate::ids::TenantId;

fn not_found() -> Error {
    Error::not_found("tenant")
}

pub(crate) async fn create(
    connection: &mut PgConnection,
    new: &NewTenant,
) -> Result<Tenant, Error> {
    Ok(db::create(connection, Uuid::now_v7(), &new.name.0).await?)
}

/// Lists tenants in the order of their creation.
pub(crate) async fn list(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    back: bool,
    rows: i64,
) -> Result<Vec<Tenant>, Error> {
    Ok(db::list(connection, after, back, rows).await?)
}

pub(crate) async fn patch(
    connection: &mut PgConnection,
    id: Uuid,
    patch: &TenantPatch,
) -> Result<Tenant, Error> {
    db::patch(connection, id, patch)
        .await?
        .ok_or_else(not_found)
}

pub(crate) async fn set_state(
    connection: &mut PgConnection,
    id: Uuid,
    state: TenantState,
) -> Result<Tenant, Error> {
    if let Some(tenant) = db::set_state(connection, id, state).await? {
        return Ok(tenant);
    }
    find(connection, id).await?;
    Err(being_deleted())
}

pub(super) fn being_deleted() -> Error {
    Error::refused(&WRONG_STATE, "The tenant is being deleted.")
        .with("state", TenantState::Deleting.as_str())
}

/// Begins to delete a tenant: its keys are rejected from now on. [`super::deletion`] does the rest.
pub(crate) async fn delete(connection: &mut PgConnection, id: Uuid) -> Result<Tenant, Error> {
    db::request_deletion(connection, id)
        .await?
        .ok_or_else(not_found)
}

pub(crate) async fn create_key(
    connection: &mut PgConnection,
    tenant: Uuid,
    new: NewApiKey,
) -> Result<IssuedApiKey, Error> {
    let tenant = find(connection, tenant).await?;
    issue(connection, tenant, new).await
}

/// Lists the keys of a tenant in the order of their creation.
pub(crate) async fn list_keys(
    connection: &mut PgConnection,
    tenant: Uuid,
    after: Option<Uuid>,
    back: bool,
    rows: i64,
) -> Result<Vec<ApiKey>, Error> {
    let tenant = find(connection, tenant).await?;
    Ok(db::keys::list_api_keys(connection, tenant, after, back, rows).await?)
}

pub(crate) async fn revoke_key(
    connection: &mut PgConnection,
    tenant: Uuid,
    key: Uuid,
) -> Result<(), Error> {
    let tenant = find(connection, tenant).await?;
    revoke(connection, tenant, key).await
}

pub(crate) async fn find(connection: &mut PgConnection, id: Uuid) -> Result<TenantId, Error> {
    db::find(connection, id).await?.ok_or_else(not_found)
}

pub(super) async fn issue(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: NewApiKey,
) -> Result<IssuedApiKey, Error> {
    let (row, key) = new.issue();
    let api_key = db::keys::create_api_key(connection, tenant, &row).await?;
    Ok(IssuedApiKey { api_key, key })
}

pub(super) async fn revoke(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: Uuid,
) -> Result<(), Error> {
    if db::keys::revoke_api_key(connection, tenant, key).await? {
        Ok(())
    } else {
        Err(Error::not_found("API key"))
    }
}
