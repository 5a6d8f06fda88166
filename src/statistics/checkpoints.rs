//! SQL of the checkpoints: the rolled-up counts of sets over time.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::counts::{Counts, counts_of};
use crate::ids::TenantId;

/// Rolled-up counts of a set at the end of a quarter of an hour.
pub(super) struct CheckpointRow {
    pub set_no: i32,
    /// Start of the quarter of an hour.
    pub bucket: DateTime<Utc>,
    pub counts: Counts,
}

macro_rules! checkpoints {
    ($connection:expr, $query:literal, $($argument:expr),*) => {
        sqlx::query!($query, $($argument),*)
            .map(|row| CheckpointRow {
                set_no: row.set_no,
                bucket: row.bucket,
                counts: counts_of!(row),
            })
            .fetch_all($connection)
            .await
    };
}

/// Lists the rolled-up counts of each set before its time in `starts`.
pub(super) async fn list_first_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    starts: &[DateTime<Utc>],
) -> sqlx::Result<Vec<CheckpointRow>> {
    checkpoints!(
        connection,
        r#"select s.set_no as "set_no!", m.bucket, m.assigned, m.reserved, m.released, m.void, m.sent, m.used, m.withdrawn,
                  m.for_others
             from unnest($2::integer[], $3::timestamptz[]) as s (set_no, start)
            cross join lateral (
              select m.*
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket < s.start
               order by m.bucket desc
               limit 1
            ) m"#,
        tenant as TenantId,
        set_nos,
        starts
    )
}

/// Lists the last rolled-up counts of each set in each interval between these ascending times in which there are any, from
/// its time in `starts` on, at most `limit` of them. Reads all rows of the period.
pub(super) async fn list_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    starts: &[DateTime<Utc>],
    times: &[DateTime<Utc>],
    limit: i64,
) -> sqlx::Result<Vec<CheckpointRow>> {
    checkpoints!(
        connection,
        r#"select s.set_no as "set_no!", m.bucket, m.assigned, m.reserved, m.released, m.void, m.sent, m.used, m.withdrawn,
                  m.for_others
             from unnest($2::integer[], $3::timestamptz[]) as s (set_no, start)
            cross join lateral (
              select m.*, width_bucket(m.bucket, $4) as place,
                     lead(width_bucket(m.bucket, $4)) over (order by m.bucket) as next_place
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket >= s.start
                 and m.bucket < ($4::timestamptz[])[cardinality($4)]
            ) m
            where m.place is distinct from m.next_place
            limit $5"#,
        tenant as TenantId,
        set_nos,
        starts,
        times,
        limit
    )
}

/// Lists the same as `list_checkpoints`, by a look-up for each time from the first to the last change of a set. It takes less
/// time where there are many rows between two times.
pub(super) async fn look_up_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    starts: &[DateTime<Utc>],
    times: &[DateTime<Utc>],
    limit: i64,
) -> sqlx::Result<Vec<CheckpointRow>> {
    checkpoints!(
        connection,
        r#"select s.set_no as "set_no!", m.bucket, m.assigned, m.reserved, m.released, m.void, m.sent, m.used, m.withdrawn,
                  m.for_others
             from unnest($2::integer[], $3::timestamptz[]) as s (set_no, start)
            cross join lateral (
              select m.bucket
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket >= s.start
               order by m.bucket
               limit 1
            ) f
            cross join lateral (
              select m.bucket
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no
               order by m.bucket desc
               limit 1
            ) l
            cross join lateral generate_series(width_bucket(f.bucket, $4), width_bucket(l.bucket, $4)) as i (place)
            cross join lateral (
              select m.*
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket >= ($4::timestamptz[])[i.place]
                 and m.bucket < ($4::timestamptz[])[i.place + 1]
               order by m.bucket desc
               limit 1
            ) m
            limit $5"#,
        tenant as TenantId,
        set_nos,
        starts,
        times,
        limit
    )
}

/// What the ledgers of all sets of a tenant added to their counters before a time, and not before the time before it.
pub(super) struct TenantFlowRow {
    /// Index of the time.
    pub place: i32,
    pub counts: Counts,
}

/// Lists what was rolled up of all sets of a tenant before the last of these ascending times.
pub(super) async fn list_tenant_flows(
    connection: &mut PgConnection,
    tenant: TenantId,
    times: &[DateTime<Utc>],
) -> sqlx::Result<Vec<TenantFlowRow>> {
    sqlx::query!(
        r#"select width_bucket(f.bucket, $2) as "place!", sum(f.assigned)::bigint as "assigned!",
                  sum(f.reserved)::bigint as "reserved!",
                  sum(f.released)::bigint as "released!", sum(f.void)::bigint as "void!",
                  sum(f.sent)::bigint as "sent!", sum(f.used)::bigint as "used!",
                  sum(f.withdrawn)::bigint as "withdrawn!", sum(f.for_others)::bigint as "for_others!"
             from statistics_tenant_flows f
            where f.tenant_id = $1 and f.bucket < ($2::timestamptz[])[cardinality($2)]
            group by width_bucket(f.bucket, $2)"#,
        tenant as TenantId,
        times
    )
    .map(|row| TenantFlowRow {
        place: row.place,
        counts: counts_of!(row),
    })
    .fetch_all(connection)
    .await
}
