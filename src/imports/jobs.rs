//! SQL of the workers: claims and leases of imports, and the steps of applying one.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::TenantId;

/// An import that this worker has claimed. The epoch is a fencing token: the next claim makes it invalid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub tenant: TenantId,
    pub import: Uuid,
    pub epoch: i32,
    pub next_chunk: i32,
    pub chunks: i32,
    pub unsorted: bool,
}

/// Claims a queued import, or one whose lease has expired. Tenants with the fewest running imports come first, then the
/// tenant that was served least recently, then its oldest import. Two workers never claim the same import, because each
/// skips rows that are locked. A worker in the middle of a chunk holds the row's lock, however long the chunk takes.
pub(super) async fn claim(connection: &mut PgConnection) -> sqlx::Result<Option<Job>> {
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
    .fetch_optional(connection)
    .await
}

/// Shortens the lease, so that any worker can claim the import after `pause` seconds.
pub(super) async fn release_lease(
    connection: &mut PgConnection,
    job: &Job,
    pause: f64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update imports
            set lease_until = clock_timestamp() + make_interval(secs => $4)
          where tenant_id = $1 and id = $2 and epoch = $3 and status = 'inProgress'",
        job.tenant as TenantId,
        job.import,
        job.epoch,
        pause
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns true if a tenant with fewer running imports than the job's tenant has an import waiting.
pub(super) async fn other_tenant_waits(
    connection: &mut PgConnection,
    job: &Job,
) -> sqlx::Result<bool> {
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
    .fetch_one(connection)
    .await
}

/// Records a failure on the side of the service; the next attempt starts after `backoff` seconds. Returns true if it was
/// the last attempt.
pub(super) async fn fail(
    connection: &mut PgConnection,
    job: &Job,
    max_attempts: i32,
    backoff: f64,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select fail_import($1, $2, $3, $4, $5) as "ended!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch,
        max_attempts,
        backoff
    )
    .fetch_one(connection)
    .await
}

/// Deletes the reports of up to `rows` imports that ended more than `days` days ago, as `lifecycle::delete` does for one.
/// Returns their number.
pub(super) async fn hide_old_reports(
    connection: &mut PgConnection,
    days: i32,
    rows: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update imports i
            set deleted_at = now(), needs_cleanup = true, idempotency_key = null
           from (
             select o.tenant_id, o.id
               from imports o
              where o.deleted_at is null and o.status in ('finished', 'error', 'cancelled')
                and coalesce(o.finished_at, o.cancelled_at) < now() - make_interval(days => $1)
              limit $2
                for update skip locked
           ) old
          where i.tenant_id = old.tenant_id and i.id = old.id",
        days,
        rows
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Finds an ended import with rows to delete, and skips those that another worker has locked.
pub(super) async fn find_needing_cleanup(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<(TenantId, Uuid)>> {
    let found = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", id
             from imports
            where needs_cleanup
            limit 1
              for update skip locked"#
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| (found.tenant, found.id)))
}

pub(super) async fn clean(
    connection: &mut PgConnection,
    tenant: TenantId,
    import: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!("select clean_import($1, $2)", tenant as TenantId, import)
        .execute(connection)
        .await?;
    Ok(())
}

/// Prepares the import for its chunks. This and the functions below return false if the import has ended or another worker
/// has claimed it.
pub(super) async fn begin(connection: &mut PgConnection, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select begin_import($1, $2, $3) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn sort(connection: &mut PgConnection, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select sort_import($1, $2, $3) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn apply_chunk(
    connection: &mut PgConnection,
    job: &Job,
    chunk: i32,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select apply_import_chunk($1, $2, $3, $4) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch,
        chunk
    )
    .fetch_one(connection)
    .await
}

/// Reads the number of cards in the lot of the import, and the number of rows of each remaining chunk.
pub(super) async fn plan(
    connection: &mut PgConnection,
    job: &Job,
) -> sqlx::Result<(i32, Vec<i32>)> {
    let plan = sqlx::query!(
        r#"select coalesce(p.base, 0) as "base!", p.sizes as "sizes!"
             from import_plan($1, $2) p"#,
        job.tenant as TenantId,
        job.import
    )
    .fetch_one(connection)
    .await?;
    Ok((plan.base, plan.sizes))
}

/// Writes the cards of a chunk, with a pause after each 500. Returns their number, or `None` if the rows must be evaluated.
pub(super) async fn place(
    connection: &mut PgConnection,
    job: &Job,
    chunk: i32,
    base: i32,
    pause: Duration,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select place_import_chunk($1, $2, $3, $4, $5, $6)",
        job.tenant as TenantId,
        job.import,
        job.epoch,
        chunk,
        base,
        pause.as_secs_f64()
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

pub(super) async fn publish(connection: &mut PgConnection, job: &Job) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select publish_import($1, $2, $3) as "ours!""#,
        job.tenant as TenantId,
        job.import,
        job.epoch
    )
    .fetch_one(connection)
    .await
}

/// Returns how many rows of an import were stored, and how many rejected; `None` if it stores none because it only validates.
pub(super) async fn row_counts(
    connection: &mut PgConnection,
    job: &Job,
) -> sqlx::Result<Option<(u64, u64)>> {
    let found = sqlx::query!(
        "select success, errors
           from imports
          where tenant_id = $1 and id = $2 and mode = 'import'",
        job.tenant as TenantId,
        job.import
    )
    .fetch_optional(connection)
    .await?;
    let count = |rows: i32| u64::try_from(rows).unwrap_or(0);
    Ok(found.map(|found| (count(found.success), count(found.errors))))
}
