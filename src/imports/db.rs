//! SQL of imports.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::admission::Upload;
use super::spool::{Chunk, Refused, Totals};
use super::{Import, Mode, Options, Progress};
use crate::tenants::TenantId;

pub(super) struct NewImport<'a> {
    pub id: Uuid,
    pub upload: &'a Upload<'a>,
    pub options: &'a Options,
}

impl NewImport<'_> {
    fn options(&self) -> Value {
        serde_json::to_value(self.options).expect("options are plain data")
    }
}

/// What the reading of a file depends on: the name of the set's time zone, and whether the set ignores case.
pub(super) async fn reading(
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
    totals: &Totals,
) -> sqlx::Result<()> {
    let upload = new.upload;
    // Sorting finds duplicates within the file, which one that only validates has no cards for.
    let unsorted = totals.unsorted || upload.mode == Mode::Validate && totals.chunks > 0;
    let reasons = serde_json::to_value(&totals.reasons).expect("counts are plain data");
    sqlx::query!(
        "insert into imports (
           tenant_id, id, set_no, origin, options, mode, fingerprint, idempotency_key, total, errors, errors_by_reason,
           chunks, unsorted)
         values ($1, $2, $3, 'api', $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        tenant as TenantId,
        new.id,
        upload.set_no,
        new.options(),
        upload.mode.as_str(),
        upload.fingerprint,
        upload.key,
        totals.rows,
        totals.refused,
        reasons,
        totals.chunks,
        unsorted
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An import that is over before it began: its file is broken at the end.
pub(super) async fn create_failed(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewImport<'_>,
    failure: &str,
) -> sqlx::Result<()> {
    let upload = new.upload;
    sqlx::query!(
        "insert into imports (
           tenant_id, id, set_no, origin, options, mode, fingerprint, idempotency_key, total, chunks, status, failure,
           finished_at)
         values ($1, $2, $3, 'api', $4, $5, $6, $7, 0, 0, 'error', $8, now())",
        tenant as TenantId,
        new.id,
        upload.set_no,
        new.options(),
        upload.mode.as_str(),
        upload.fingerprint,
        upload.key,
        failure
    )
    .execute(connection)
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

pub(super) async fn store_refused(
    connection: &mut PgConnection,
    tenant: TenantId,
    import: Uuid,
    refused: &Refused,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into import_errors (tenant_id, import_id, row_no, line, code, reason)
         select $1, $2, u.*
           from unnest($3::integer[], $4::integer[], $5::text[], $6::text[]) u",
        tenant as TenantId,
        import,
        &refused.row_nos,
        &refused.lines,
        &refused.codes,
        &refused.reasons as &[&str]
    )
    .execute(connection)
    .await?;
    Ok(())
}

struct Row {
    id: Uuid,
    coupon_set_id: Uuid,
    status: String,
    origin: String,
    mode: String,
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
    now: DateTime<Utc>,
}

impl From<Row> for Import {
    fn from(row: Row) -> Self {
        let until = row.finished_at.or(row.cancelled_at).unwrap_or(row.now);
        let progress = Progress::new(
            row.success + row.errors,
            row.total,
            &row.status,
            row.started_at.map(|started_at| until - started_at),
        );
        // Nothing came in of one that ended without being published, and nothing more is told of its rows.
        let (total, success) = match row.status.as_str() {
            "error" | "cancelled" => (row.errors, 0),
            _ => (row.total, row.success),
        };
        Self {
            error_report_file_url: (row.errors > 0)
                .then(|| format!("/v1/imports/{}/errors.csv", row.id)),
            progress,
            id: row.id,
            kind: "coupons",
            coupon_set_id: row.coupon_set_id,
            status: row.status,
            origin: row.origin,
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
        }
    }
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<Import>> {
    let row = sqlx::query_as!(
        Row,
        r#"select i.id, s.id as coupon_set_id, i.status, i.origin, i.mode, i.total, i.success, i.errors, i.duplicates,
                  i.errors_by_reason, i.failure, i.created_at, i.started_at, i.finished_at, i.cancelled_at,
                  i.undone_at, i.withdrawn, i.options, clock_timestamp() as "now!"
             from imports i
             join coupon_sets s on s.tenant_id = i.tenant_id and s.set_no = i.set_no
            where i.tenant_id = $1 and i.id = $2 and i.deleted_at is null"#,
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Import::from))
}

/// Newest first; ids rise with the time of creation. The branches that do not apply are never executed.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: Option<i32>,
    after: Option<Uuid>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Import>> {
    let rows = sqlx::query_as!(
        Row,
        r#"with page as (
             (select id
                from imports
               where not $4 and tenant_id = $1 and deleted_at is null and ($2::integer is null or set_no = $2) and ($3::uuid is null or id < $3)
               order by id desc
               limit $5)
             union all
             (select id
                from imports
               where $4 and tenant_id = $1 and deleted_at is null and ($2::integer is null or set_no = $2) and id > $3
               order by id
               limit $5)
           )
           select i.id, s.id as coupon_set_id, i.status, i.origin, i.mode, i.total, i.success, i.errors, i.duplicates,
                  i.errors_by_reason, i.failure, i.created_at, i.started_at, i.finished_at, i.cancelled_at,
                  i.undone_at, i.withdrawn, i.options, clock_timestamp() as "now!"
             from page
             join imports i on i.tenant_id = $1 and i.id = page.id
             join coupon_sets s on s.tenant_id = $1 and s.set_no = i.set_no
            order by case when $4 then i.id end, i.id desc"#,
        tenant as TenantId,
        set_no,
        after,
        back,
        rows
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
    /// When the import that brought the code of a duplicate was finished.
    pub came_in_at: Option<DateTime<Utc>>,
    /// The name of the other set that has it.
    pub other_set: Option<String>,
}

/// The rejected rows after this one, in the order of the file.
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

/// A job that this worker has claimed. The epoch is its ticket: it is void as soon as another worker claims the job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub tenant: TenantId,
    pub import: Uuid,
    pub epoch: i32,
    pub next_chunk: i32,
    pub chunks: i32,
    pub unsorted: bool,
}

/// Claims an import that waits, or whose worker has gone: of the tenant that has the least running, among those of the one
/// that was not served for longest, its oldest. Two workers never get the same one: what one has locked the other skips.
/// A worker in the middle of a chunk holds its row's lock, however long the chunk takes.
pub(super) async fn claim(pool: &PgPool) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        r#"update imports i
              set status = 'inProgress',
                  epoch = i.epoch + 1,
                  lease_until = clock_timestamp() + interval '10 seconds',
                  started_at = coalesce(i.started_at, clock_timestamp()),
                  claimed_at = clock_timestamp()
             from (
               select w.tenant_id, w.id
                 from imports w
                where w.status = 'inProgress' and w.lease_until < clock_timestamp()
                   or w.status = 'queued' and not exists (
                        select 1
                          from imports r
                         where r.tenant_id = w.tenant_id and r.set_no = w.set_no and r.status = 'inProgress')
                order by (
                         select count(*)
                           from imports r
                          where r.tenant_id = w.tenant_id and r.status = 'inProgress'
                            and r.lease_until >= clock_timestamp()),
                       (
                         select max(c.claimed_at)
                           from imports c
                          where c.tenant_id = w.tenant_id) nulls first,
                       w.created_at
                limit 1
                  for update skip locked
             ) next
            where i.tenant_id = next.tenant_id and i.id = next.id
           returning i.tenant_id as "tenant: TenantId", i.id as import, i.epoch, i.next_chunk, i.chunks, i.unsorted"#
    )
    .fetch_optional(pool)
    .await
}

/// Lets any worker have the job after this many seconds.
pub(super) async fn give_up(pool: &PgPool, job: &Job, pause: f64) -> sqlx::Result<()> {
    sqlx::query!(
        "update imports
            set lease_until = clock_timestamp() + make_interval(secs => $4)
          where tenant_id = $1 and id = $2 and epoch = $3 and status = 'inProgress'",
        job.tenant as TenantId,
        job.import,
        job.epoch,
        pause
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether another tenant has less running than this job's, and an import that waits.
pub(super) async fn others_wait(pool: &PgPool, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select 1
               from imports w
              where w.tenant_id <> $1
                and (w.status = 'queued' or w.status = 'inProgress' and w.lease_until < clock_timestamp())
                and (
                      select count(*)
                        from imports r
                       where r.tenant_id = w.tenant_id and r.status = 'inProgress'
                         and r.lease_until >= clock_timestamp()
                    ) < (
                      select count(*)
                        from imports r
                       where r.tenant_id = $1 and r.status = 'inProgress' and r.lease_until >= clock_timestamp()
                    )) as "wait!""#,
        job.tenant as TenantId
    )
    .fetch_one(pool)
    .await
}

/// Notes that the job failed on our side, so that it rests for these seconds. Answers true if it was the last try.
pub(super) async fn fail(pool: &PgPool, job: &Job, tries: i32, rest: f64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select fail_import($1, $2, $3, $4, $5) as "ended!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch,
        tries,
        rest
    )
    .fetch_one(pool)
    .await
}

/// An import that has left something behind and that nobody works on.
pub(super) async fn find_litter(pool: &PgPool) -> sqlx::Result<Option<(TenantId, Uuid)>> {
    let found = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", id
             from imports
            where litter
            limit 1
              for update skip locked"#
    )
    .fetch_optional(pool)
    .await?;
    Ok(found.map(|found| (found.tenant, found.id)))
}

pub(super) async fn clean(pool: &PgPool, tenant: TenantId, import: Uuid) -> sqlx::Result<()> {
    sqlx::query!("select clean_import($1, $2)", tenant as TenantId, import)
        .execute(pool)
        .await?;
    Ok(())
}

/// The functions below answer false when the job is no longer this worker's.
pub(super) async fn begin(pool: &PgPool, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select begin_import($1, $2, $3) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch
    )
    .fetch_one(pool)
    .await
}

pub(super) async fn sort(pool: &PgPool, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select sort_import($1, $2, $3) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch
    )
    .fetch_one(pool)
    .await
}

pub(super) async fn apply_chunk(pool: &PgPool, job: &Job, chunk: i32) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select apply_import_chunk($1, $2, $3, $4) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch,
        chunk
    )
    .fetch_one(pool)
    .await
}

/// The cards that the lot of a job has, and the rows of each chunk that is left.
pub(super) async fn plan(pool: &PgPool, job: &Job) -> sqlx::Result<(i32, Vec<i32>)> {
    let plan = sqlx::query!(
        r#"select coalesce(p.base, 0) as "base!", p.sizes as "sizes!"
             from import_plan($1, $2) p"#,
        job.tenant as TenantId,
        job.import
    )
    .fetch_one(pool)
    .await?;
    Ok((plan.base, plan.sizes))
}

/// Writes the cards of a chunk; `None` if its rows have to be judged.
pub(super) async fn place(
    connection: &mut PgConnection,
    job: &Job,
    chunk: i32,
    base: i32,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select place_import_chunk($1, $2, $3, $4, $5)",
        job.tenant as TenantId,
        job.import,
        job.epoch,
        chunk,
        base
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn settle(
    connection: &mut PgConnection,
    job: &Job,
    chunk: i32,
    base: i32,
    rows: i32,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select settle_import_chunk($1, $2, $3, $4, $5, $6) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch,
        chunk,
        base,
        rows
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn publish(pool: &PgPool, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select publish_import($1, $2, $3) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch
    )
    .fetch_one(pool)
    .await
}
