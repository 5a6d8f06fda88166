//! SQL of imports.

use chrono::{DateTime, Utc};
use delivery_reader::Warning;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::admission::UploadIdentity;
use super::spool::{Chunk, RejectedRows, UploadTotals};
use super::{Import, ImportOptions, ImportProgress, ImportStatus, Mode};
use crate::ids::TenantId;
use crate::tenants::auth::Origin;

pub(super) struct NewImport<'a> {
    pub id: Uuid,
    pub upload: &'a UploadIdentity<'a>,
    pub origin: Origin,
    /// The id of the API key.
    pub caller: Uuid,
    pub options: &'a ImportOptions,
}

impl NewImport<'_> {
    fn options(&self) -> Value {
        serde_json::to_value(self.options).expect("options are plain data")
    }
}

/// Reads the name of the set's time zone, and whether the set ignores case: a file is read by both.
pub(super) async fn find_reading_rules(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<(String, bool)> {
    let set = sqlx::query!(
        "select timezone, ignore_case
           from coupon_sets
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no
    )
    .fetch_one(connection)
    .await?;
    Ok((set.timezone, set.ignore_case))
}

pub(super) async fn create(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewImport<'_>,
    totals: &UploadTotals,
    warnings: &[Warning],
) -> sqlx::Result<()> {
    let upload = new.upload;
    // Sorting finds duplicates within the file. An import that only validates has no cards to find them by.
    let unsorted = totals.unsorted || upload.mode == Mode::Validate && totals.chunks > 0;
    let reasons = serde_json::to_value(&totals.reasons).expect("counts are plain data");
    let warnings = serde_json::to_value(warnings).expect("warnings are plain data");
    sqlx::query!(
        "insert into imports (
           tenant_id, id, set_no, origin, key_id, options, mode, fingerprint, idempotency_key, total, errors,
           errors_by_reason, chunks, unsorted, warnings)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        tenant as TenantId,
        new.id,
        upload.set_no,
        new.origin as Origin,
        new.caller,
        new.options(),
        upload.mode as Mode,
        upload.fingerprint,
        upload.key,
        totals.rows,
        totals.rejected,
        reasons,
        totals.chunks,
        unsorted,
        warnings
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Creates an import that has already failed, because its file ends inside a quoted cell.
pub(super) async fn create_failed(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewImport<'_>,
    failure: &str,
) -> sqlx::Result<()> {
    let upload = new.upload;
    sqlx::query!(
        "insert into imports (
           tenant_id, id, set_no, origin, key_id, options, mode, fingerprint, idempotency_key, total, chunks, status,
           failure, finished_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 'error', $10, now())",
        tenant as TenantId,
        new.id,
        upload.set_no,
        new.origin as Origin,
        new.caller,
        new.options(),
        upload.mode as Mode,
        upload.fingerprint,
        upload.key,
        failure
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes PostgreSQL flush the writes of this transaction to disk in small steps. A large flush by the system is faster
/// overall but delays every commit, so this is used only while codes are requested.
pub(super) async fn write_evenly(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select set_config('backend_flush_after', '256kB', true)")
        .fetch_one(connection)
        .await?;
    Ok(())
}

pub(super) async fn store_chunk(
    connection: &mut PgConnection,
    tenant: TenantId,
    import: Uuid,
    number: i32,
    chunk: &Chunk,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into import_chunks (
           tenant_id, import_id, chunk, row_nos, lines, codes, expires_ats, attributes, folds, size)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, cardinality($6::text[]))",
        tenant as TenantId,
        import,
        number,
        &chunk.row_nos,
        &chunk.lines,
        &chunk.codes,
        &chunk.expires_ats as &[Option<DateTime<Utc>>],
        &chunk.attributes as &[Option<String>],
        &chunk.folds
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn store_rejected(
    connection: &mut PgConnection,
    tenant: TenantId,
    import: Uuid,
    rejected: &RejectedRows,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into import_errors (tenant_id, import_id, row_no, line, code, reason)
         select $1, $2, u.*
           from unnest($3::integer[], $4::integer[], $5::text[], $6::text[]) u",
        tenant as TenantId,
        import,
        &rejected.row_nos,
        &rejected.lines,
        &rejected.codes,
        &rejected.reasons as &[&str]
    )
    .execute(connection)
    .await?;
    Ok(())
}

struct ImportRow {
    id: Uuid,
    coupon_set_id: Uuid,
    coupon_set_name: String,
    status: ImportStatus,
    origin: Origin,
    api_key_id: Option<Uuid>,
    api_key_name: Option<String>,
    mode: Mode,
    total: i32,
    success: i32,
    errors: i32,
    duplicates: i32,
    errors_by_reason: Value,
    failure: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    undone_at: Option<DateTime<Utc>>,
    withdrawn: Option<i32>,
    cancelled_at: Option<DateTime<Utc>>,
    options: Value,
    warnings: Value,
    now: DateTime<Utc>,
}

impl From<ImportRow> for Import {
    fn from(row: ImportRow) -> Self {
        let until = row.finished_at.or(row.cancelled_at).unwrap_or(row.now);
        let progress = ImportProgress::new(
            row.success + row.errors,
            row.total,
            row.status,
            row.started_at.map(|started_at| until - started_at),
        );
        // An import that ended unpublished imported nothing, and its remaining rows are not counted.
        let (total, success) = match row.status {
            ImportStatus::Error | ImportStatus::Cancelled => (row.errors, 0),
            _ => (row.total, row.success),
        };
        Self {
            error_report_file_url: (row.errors > 0)
                .then(|| format!("/v1/imports/{}/errors.csv", row.id)),
            progress,
            id: row.id,
            kind: "coupons",
            coupon_set_id: row.coupon_set_id,
            coupon_set_name: row.coupon_set_name,
            status: row.status,
            origin: row.origin,
            api_key_id: row.api_key_id,
            api_key_name: row.api_key_name,
            mode: row.mode,
            total,
            success,
            errors: row.errors,
            duplicates: row.duplicates,
            errors_by_reason: row.errors_by_reason,
            failure: row.failure,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            undone_at: row.undone_at,
            withdrawn: row.withdrawn,
            cancelled_at: row.cancelled_at,
            options: row.options,
            warnings: row.warnings,
        }
    }
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<Import>> {
    let row = sqlx::query_as!(
        ImportRow,
        r#"select i.id, s.id as coupon_set_id, s.name as coupon_set_name, i.status as "status: ImportStatus", i.origin as "origin: Origin",
                  i.key_id as api_key_id,
                  k.name as "api_key_name?", i.mode as "mode: Mode", i.total, i.success, i.errors, i.duplicates, i.errors_by_reason,
                  i.failure, i.created_at, i.started_at, i.finished_at, i.cancelled_at, i.undone_at, i.withdrawn,
                  i.options, i.warnings, clock_timestamp() as "now!"
             from imports i
             join coupon_sets s on s.tenant_id = i.tenant_id and s.set_no = i.set_no
             left join api_keys k on k.tenant_id = i.tenant_id and k.id = i.key_id
            where i.tenant_id = $1 and i.id = $2 and i.deleted_at is null"#,
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Import::from))
}

/// Filter and position of a page of imports.
pub(super) struct ListFilter {
    pub set_no: Option<i32>,
    pub status: Option<ImportStatus>,
    pub after: Option<Uuid>,
    pub back: bool,
    pub rows: i64,
}

/// Lists imports, newest first; ids rise with the time of creation. Only one branch of the union is executed.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &ListFilter,
) -> sqlx::Result<Vec<Import>> {
    let rows = sqlx::query_as!(
        ImportRow,
        r#"with page as (
             (select id
                from imports
               where not $4 and tenant_id = $1 and deleted_at is null and ($2::integer is null or set_no = $2)
                 and ($6::text is null or status = $6) and ($3::uuid is null or id < $3)
               order by id desc
               limit $5)
             union all
             (select id
                from imports
               where $4 and tenant_id = $1 and deleted_at is null and ($2::integer is null or set_no = $2)
                 and ($6::text is null or status = $6) and id > $3
               order by id
               limit $5)
           )
           select i.id, s.id as coupon_set_id, s.name as coupon_set_name, i.status as "status: ImportStatus", i.origin as "origin: Origin",
                  i.key_id as api_key_id,
                  k.name as "api_key_name?", i.mode as "mode: Mode", i.total, i.success, i.errors, i.duplicates, i.errors_by_reason,
                  i.failure, i.created_at, i.started_at, i.finished_at, i.cancelled_at, i.undone_at, i.withdrawn,
                  i.options, i.warnings, clock_timestamp() as "now!"
             from page
             join imports i on i.tenant_id = $1 and i.id = page.id
             join coupon_sets s on s.tenant_id = $1 and s.set_no = i.set_no
             left join api_keys k on k.tenant_id = $1 and k.id = i.key_id
            order by case when $4 then i.id end, i.id desc"#,
        tenant as TenantId,
        filter.set_no,
        filter.after,
        filter.back,
        filter.rows,
        filter.status as Option<ImportStatus>
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Import::from).collect())
}

/// A row that was not imported.
#[derive(Debug)]
pub(super) struct RejectedRow {
    pub row_no: i32,
    pub line: i32,
    pub code: String,
    pub reason: String,
    pub first_line: Option<i32>,
    /// End of the import that first imported the code of a duplicate.
    pub came_in_at: Option<DateTime<Utc>>,
    /// Name of the other set that contains the code.
    pub other_set: Option<String>,
}

/// Lists the rejected rows after the row `after`, in the order of the file.
pub(super) async fn list_errors(
    connection: &mut PgConnection,
    tenant: TenantId,
    import: Uuid,
    after: i32,
    rows: i64,
) -> sqlx::Result<Vec<RejectedRow>> {
    sqlx::query_as!(
        RejectedRow,
        r#"select e.row_no, e.line, e.code, e.reason, e.first_line, e.came_in_at, s.name as "other_set?"
             from import_errors e
             left join coupon_sets s on s.tenant_id = e.tenant_id and s.set_no = e.other_set_no
            where e.tenant_id = $1 and e.import_id = $2 and e.row_no > $3
            order by e.row_no
            limit $4"#,
        tenant as TenantId,
        import,
        after,
        rows
    )
    .fetch_all(connection)
    .await
}
