//! SQL of the checkpoints: the rolled-up counts of sets over time.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::counts::Counts;
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
                counts: Counts {
                    assigned: row.assigned,
                    reserved: row.reserved,
                    released: row.released,
                    void: row.void,
                    sent: row.sent,
                    used: row.used,
                    withdrawn: row.withdrawn,
                    for_others: row.for_others,
                },
            })
            .fetch_all($connection)
            .await
    };
}

/// Lists the rolled-up counts of each set before `at`.
pub(super) async fn list_first_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<CheckpointRow>> {
    checkpoints!(
        connection,
        r#"select s.set_no as "set_no!", m.bucket, m.assigned, m.reserved, m.released, m.void, m.sent, m.used, m.withdrawn,
                  m.for_others
             from unnest($2::integer[]) as s (set_no)
            cross join lateral (
              select m.*
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket < $3
               order by m.bucket desc
               limit 1
            ) m"#,
        tenant as TenantId,
        set_nos,
        at
    )
}

/// Lists the last rolled-up counts in each interval between these ascending times in which there are any, at most `limit`
/// of them. Reads all rows of the period.
pub(super) async fn list_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    times: &[DateTime<Utc>],
    limit: i64,
) -> sqlx::Result<Vec<CheckpointRow>> {
    checkpoints!(
        connection,
        r#"select s.set_no as "set_no!", m.bucket, m.assigned, m.reserved, m.released, m.void, m.sent, m.used, m.withdrawn,
                  m.for_others
             from unnest($2::integer[]) as s (set_no)
            cross join lateral (
              select m.*, width_bucket(m.bucket, $3) as place,
                     lead(width_bucket(m.bucket, $3)) over (order by m.bucket) as next_place
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket >= ($3::timestamptz[])[1]
                 and m.bucket < ($3::timestamptz[])[cardinality($3)]
            ) m
            where m.place is distinct from m.next_place
            limit $4"#,
        tenant as TenantId,
        set_nos,
        times,
        limit
    )
}

/// Lists the same as `list_checkpoints`, by a look-up for each time from the first to the last change of a set. It takes less time where there are many rows between two times.
pub(super) async fn look_up_checkpoints(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    times: &[DateTime<Utc>],
    limit: i64,
) -> sqlx::Result<Vec<CheckpointRow>> {
    checkpoints!(
        connection,
        r#"select s.set_no as "set_no!", m.bucket, m.assigned, m.reserved, m.released, m.void, m.sent, m.used, m.withdrawn,
                  m.for_others
             from unnest($2::integer[]) as s (set_no)
            cross join lateral (
              select m.bucket
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket >= ($3::timestamptz[])[1]
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
            cross join lateral generate_series(width_bucket(f.bucket, $3), width_bucket(l.bucket, $3)) as i (place)
            cross join lateral (
              select m.*
                from statistics_checkpoints m
               where m.tenant_id = $1 and m.set_no = s.set_no and m.bucket >= ($3::timestamptz[])[i.place]
                 and m.bucket < ($3::timestamptz[])[i.place + 1]
               order by m.bucket desc
               limit 1
            ) m
            limit $4"#,
        tenant as TenantId,
        set_nos,
        times,
        limit
    )
}
