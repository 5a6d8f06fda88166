//! SQL of the workers: who applies which import, and its steps.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::ids::TenantId;

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
            where needs_cleanup
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

/// Writes the cards of a chunk, pausing after each 500; `None` if its rows have to be judged.
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
