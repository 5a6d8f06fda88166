//! Admission of uploads: an upload becomes an import unless it repeats an earlier one or the queue is full.
//!
//! The decisive check runs under the tenant's lock of imports, which each upload takes after its rows are stored. Of two
//! equal uploads at the same time, one becomes an import and the other returns that import. Two uploads never take the
//! last place of the queue together.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Import, Mode, db};
use crate::http::error::{Error, IDEMPOTENCY_KEY_REUSED, TOO_MANY_IMPORTS};
use crate::ids::TenantId;

/// Most queued imports of a tenant.
const MAX_QUEUED: i64 = 10;

/// Properties by which an upload is recognised as a repetition.
pub(super) struct UploadIdentity<'a> {
    pub set_no: i32,
    pub mode: Mode,
    pub force: bool,
    pub fingerprint: &'a [u8],
    pub key: Option<Uuid>,
}

/// Returns the import of an earlier equal upload, or `None` if this upload may become an import. Fails if the queue is full.
pub(super) async fn check(
    connection: &mut PgConnection,
    tenant: TenantId,
    upload: &UploadIdentity<'_>,
) -> Result<Option<Import>, Error> {
    let mut earlier = None;
    if let Some(key) = upload.key {
        earlier = find_by_key(connection, tenant, key, upload).await?;
    }
    if earlier.is_none() && !upload.force && upload.mode == Mode::Import {
        earlier = find_same_file(connection, tenant, upload).await?;
    }
    if let Some(id) = earlier {
        return Ok(db::find(connection, tenant, id).await?);
    }
    if count_queued(connection, tenant).await? >= MAX_QUEUED {
        let detail = format!(
            "{MAX_QUEUED} imports are queued already. Nothing was stored. Send the file again after some of them have started."
        );
        return Err(Error::refused(&TOO_MANY_IMPORTS, detail));
    }
    Ok(None)
}

/// Returns the import with this idempotency key, in any state.
async fn find_by_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: Uuid,
    upload: &UploadIdentity<'_>,
) -> Result<Option<Uuid>, Error> {
    let found = sqlx::query!(
        r#"select id, (set_no = $3 and fingerprint = $4) as "same!"
             from imports
            where tenant_id = $1 and idempotency_key = $2"#,
        tenant as TenantId,
        key,
        upload.set_no,
        upload.fingerprint
    )
    .fetch_optional(connection)
    .await?;
    match found {
        Some(found) if !found.same => Err(Error::refused(
            &IDEMPOTENCY_KEY_REUSED,
            "The key was already used for another file, other options or another set. Nothing was stored. Send this file with a new key.",
        )),
        found => Ok(found.map(|found| found.id)),
    }
}

/// Returns the latest import of the same file into the same set that imported codes or still may.
async fn find_same_file(
    connection: &mut PgConnection,
    tenant: TenantId,
    upload: &UploadIdentity<'_>,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select id
           from imports
          where tenant_id = $1 and set_no = $2 and fingerprint = $3 and status in ('queued', 'inProgress', 'finished')
            and undone_at is null and deleted_at is null
          order by id desc
          limit 1",
        tenant as TenantId,
        upload.set_no,
        upload.fingerprint
    )
    .fetch_optional(connection)
    .await
}

async fn count_queued(connection: &mut PgConnection, tenant: TenantId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from imports
            where tenant_id = $1 and status = 'queued'"#,
        tenant as TenantId
    )
    .fetch_one(connection)
    .await
}
