//! Undoing an import: the database function `undo_import` withdraws all of its unassigned codes at once.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::ImportStatus;
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::error::{Error, WRONG_STATE};
use crate::http::extract::{Fields, FromFields, Json, Path, Query};
use crate::http::fields::Reason;
use crate::ids::{SetKey, TenantId};
use crate::tenants::auth::{Caller, ImportsWrite};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UndoQuery {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug)]
pub(super) struct UndoBody {
    reason: Option<String>,
}

impl FromFields for UndoBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            reason: fields.optional("reason").map(|Reason(reason)| reason),
        })
    }
}

/// Result of an undo, or of its dry run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Undo {
    import_id: Uuid,
    dry_run: bool,
    withdrawn: i32,
    /// Codes that were withdrawn one by one before the undo.
    withdrawn_before: i32,
    /// Codes that contacts have.
    kept: i32,
    undone_at: Option<DateTime<Utc>>,
}

pub(super) async fn undo(
    State(database): State<Database>,
    State(dirty_sets): State<DirtySets>,
    caller: Caller<ImportsWrite>,
    Path(import): Path<Uuid>,
    Query(UndoQuery { dry_run }): Query<UndoQuery>,
    body: Option<Json<UndoBody>>,
) -> Result<Json<Undo>, Error> {
    let reason = body.and_then(|Json(body)| body.reason);
    let mut transaction = database.tenant(caller.tenant).await?;
    let row = call(
        &mut transaction,
        caller.tenant,
        import,
        dry_run,
        caller.key,
        reason.as_deref(),
    )
    .await?;
    transaction.commit().await?;
    let row = row.ok_or_else(|| Error::not_found("import"))?;
    if !dry_run {
        dirty_sets.mark(SetKey {
            tenant: caller.tenant,
            set_no: row.set_no,
        });
    }
    let numbers = row.withdrawn.zip(row.withdrawn_before).zip(row.kept);
    let Some(status) = row.status else {
        let detail = "The import only validated its rows, so there is nothing to undo.";
        return Err(Error::refused(&WRONG_STATE, detail));
    };
    let status = status.as_str();
    let ((withdrawn, withdrawn_before), kept) = numbers.ok_or_else(|| {
        let detail = format!("The import is `{status}`. Only a `finished` import can be undone.");
        Error::refused(&WRONG_STATE, detail).with("state", status)
    })?;
    Ok(Json(Undo {
        import_id: import,
        dry_run,
        withdrawn,
        withdrawn_before,
        kept,
        undone_at: row.undone_at,
    }))
}

/// Row of `undo_import`. The numbers are present if the import is finished.
struct UndoRow {
    set_no: i32,
    /// `None` if the import only validated its rows.
    status: Option<ImportStatus>,
    withdrawn: Option<i32>,
    withdrawn_before: Option<i32>,
    kept: Option<i32>,
    undone_at: Option<DateTime<Utc>>,
}

async fn call(
    connection: &mut PgConnection,
    tenant: TenantId,
    import: Uuid,
    dry_run: bool,
    caller: Uuid,
    reason: Option<&str>,
) -> sqlx::Result<Option<UndoRow>> {
    sqlx::query_as!(
        UndoRow,
        r#"select i.set_no, nullif(u.status, 'validate') as "status: ImportStatus", u.withdrawn, u.withdrawn_before, u.kept, u.undone_at
             from undo_import($1, $2, $3, $4, $5) u
             join imports i on i.tenant_id = $1 and i.id = $2"#,
        tenant as TenantId,
        import,
        dry_run,
        caller,
        reason
    )
    .fetch_optional(connection)
    .await
}
