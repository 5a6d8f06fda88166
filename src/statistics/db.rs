//! SQL of statistics. The caller reads everything in one snapshot, so that the parts are consistent.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::counts::{Counts, counts_of};
use crate::ids::TenantId;

/// A set with its current counters.
pub(super) struct SetRow {
    pub set_no: i32,
    pub id: Uuid,
    pub name: String,
    pub is_single: bool,
    pub timezone: String,
    pub deleted_at: Option<DateTime<Utc>>,
    /// The ledger is kept. Without one, the current counters are those that were rolled up.
    pub has_ledger: bool,
    pub now: DateTime<Utc>,
    pub quantity: Option<i64>,
    pub available: Option<i64>,
    pub expired: i64,
    pub counts: Counts,
}

/// Lists one set, unless it is deleted, or all sets of the tenant, including deleted ones.
pub(super) async fn list_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
    set: Option<Uuid>,
) -> sqlx::Result<Vec<SetRow>> {
    let rows = sqlx::query!(
        r#"select s.set_no, s.id, s.name, s.type = 'single' as "is_single!", s.timezone, s.deleted_at,
                  s.ledger_state = 'kept' as "has_ledger!", now() as "now!",
                  c.quantity, c.available, c.expired as "expired!", c.reserved as "reserved!",
                  c.assigned as "assigned!", c.sent as "sent!", c.used as "used!", c.released as "released!",
                  c.void as "void!", c.withdrawn as "withdrawn!"
             from coupon_sets s
             join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
            where s.tenant_id = $1 and ($2::uuid is null or (s.id = $2 and s.deleted_at is null))
            order by s.set_no"#,
        tenant as TenantId,
        set
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| SetRow {
        set_no: row.set_no,
        id: row.id,
        name: row.name,
        is_single: row.is_single,
        timezone: row.timezone,
        deleted_at: row.deleted_at,
        has_ledger: row.has_ledger,
        now: row.now,
        quantity: row.quantity,
        available: row.available,
        expired: row.expired,
        counts: Counts {
            assigned: row.assigned,
            reserved: row.reserved,
            released: row.released,
            void: row.void,
            sent: row.sent,
            used: row.used,
            withdrawn: row.withdrawn,
            // Not part of `coupon_set_counters`.
            for_others: 0,
        },
    });
    Ok(rows.collect())
}

/// Counts of ledger entries that are not rolled up yet, by quarter of an hour.
pub(super) struct TailRow {
    pub set_no: i32,
    pub bucket: DateTime<Utc>,
    /// `None` for entries that belong to no assignment.
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub lot_no: i32,
    pub counts: Counts,
    pub expired: i64,
    pub expired_from: Option<DateTime<Utc>>,
}

pub(super) async fn list_ledger_tails(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
) -> sqlx::Result<Vec<TailRow>> {
    let rows = sqlx::query!(
        r#"select t.set_no as "set_no!", statistics_bucket(f.at) as "bucket!", f.workflow_id, f.node_id,
                  f.lot_no as "lot_no!", statistics_bucket(f.expired_from) as expired_from,
                  sum(f.assigned)::bigint as "assigned!", sum(f.reserved)::bigint as "reserved!",
                  sum(f.released)::bigint as "released!", sum(f.void)::bigint as "void!",
                  sum(f.sent)::bigint as "sent!", sum(f.used)::bigint as "used!",
                  sum(f.withdrawn)::bigint as "withdrawn!", sum(f.for_others)::bigint as "for_others!",
                  sum(f.expired)::bigint as "expired!"
             from statistics_tails t
            cross join lateral ledger_flows(t.tenant_id, t.set_no, t.rolled_up, t.number) f
            where t.tenant_id = $1 and t.set_no = any ($2) and t.rolled_up < t.number
            group by t.set_no, statistics_bucket(f.at), f.workflow_id, f.node_id, f.lot_no,
                     statistics_bucket(f.expired_from)"#,
        tenant as TenantId,
        set_nos
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| TailRow {
        set_no: row.set_no,
        bucket: row.bucket,
        workflow_id: row.workflow_id,
        node_id: row.node_id,
        lot_no: row.lot_no,
        counts: counts_of!(row),
        expired: row.expired,
        expired_from: row.expired_from,
    });
    Ok(rows.collect())
}

/// Counts of a source between two times.
pub(super) struct ShareRow {
    pub set_no: i32,
    pub lot_no: i32,
    pub workflow_id: String,
    pub node_id: String,
    pub assigned: i64,
    pub released: i64,
    pub void: i64,
    pub sent: i64,
    pub used: i64,
}

pub(super) async fn list_shares(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<ShareRow>> {
    sqlx::query_as!(
        ShareRow,
        r#"select s.set_no, s.lot_no, s.workflow_id, s.node_id,
                  t.assigned - coalesce(f.assigned, 0) as "assigned!",
                  t.released - coalesce(f.released, 0) as "released!",
                  t.void - coalesce(f.void, 0) as "void!",
                  t.sent - coalesce(f.sent, 0) as "sent!",
                  t.used - coalesce(f.used, 0) as "used!"
             from statistics_sources s
            cross join lateral (
              select m.*
                from statistics_shares m
               where m.tenant_id = s.tenant_id and m.set_no = s.set_no and m.source_no = s.source_no and m.bucket < $4
               order by m.bucket desc
               limit 1
            ) t
             left join lateral (
               select m.*
                 from statistics_shares m
                where m.tenant_id = s.tenant_id and m.set_no = s.set_no and m.source_no = s.source_no
                  and m.bucket < $3
                order by m.bucket desc
                limit 1
             ) f on true
            where s.tenant_id = $1 and s.set_no = any ($2)"#,
        tenant as TenantId,
        set_nos,
        from,
        to
    )
    .fetch_all(connection)
    .await
}

/// The lot of a finished import.
pub(super) struct LotRow {
    pub set_no: i32,
    pub lot_no: i32,
    pub import_id: Uuid,
    pub size: i32,
    pub published_at: DateTime<Utc>,
    pub undone_at: Option<DateTime<Utc>>,
}

pub(super) async fn list_lots(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
) -> sqlx::Result<Vec<LotRow>> {
    sqlx::query_as!(
        LotRow,
        r#"select l.set_no, l.lot_no, l.import_id as "import_id!", l.size, l.published_at as "published_at!",
                  l.undone_at
             from lots l
            where l.tenant_id = $1 and l.set_no = any ($2) and l.import_id is not null
              and l.published_at is not null and l.state in ('open', 'closed')
            order by l.set_no, l.lot_no"#,
        tenant as TenantId,
        set_nos
    )
    .fetch_all(connection)
    .await
}

/// Terms of a set since a time.
pub(super) struct TermsRow {
    pub set_no: i32,
    pub since: DateTime<Utc>,
    pub quantity: Option<i32>,
    pub expires_at: Option<DateTime<Utc>>,
}

pub(super) async fn list_terms(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
) -> sqlx::Result<Vec<TermsRow>> {
    sqlx::query_as!(
        TermsRow,
        r#"select t.set_no, t.since, t.quantity, t.expires_at
             from coupon_set_terms t
            where t.tenant_id = $1 and t.set_no = any ($2)
            order by t.set_no, t.since"#,
        tenant as TenantId,
        set_nos
    )
    .fetch_all(connection)
    .await
}

/// Change, at a time, of the number of unassigned expired codes of an import. It is negative for codes that are no longer
/// counted.
pub(super) struct ExpiryRow {
    pub set_no: i32,
    pub lot_no: i32,
    pub bucket: DateTime<Utc>,
    pub codes: i64,
}

/// Lists expiries from the cards and from the roll-up. `times` are ascending. The buckets of cards end at one of them.
pub(super) async fn list_expiries(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    times: &[DateTime<Utc>],
) -> sqlx::Result<Vec<ExpiryRow>> {
    sqlx::query_as!(
        ExpiryRow,
        r#"select l.set_no as "set_no!", l.lot_no as "lot_no!",
                  greatest(x.at - interval '1 microsecond', l.published_at) as "bucket!", x.cards as "codes!"
             from lots l
            cross join lateral (
              select ($3::timestamptz[])[x.place] as at, x.cards
                from lot_expiries(l.tenant_id, l.set_no, l.lot_no, l.size, $3) x
            ) x
            where l.tenant_id = $1 and l.set_no = any ($2) and l.import_id is not null
              and l.published_at is not null and l.state in ('open', 'closed') and l.first_expires_at is not null
            union all
           select e.set_no, e.lot_no, e.bucket, e.codes
             from statistics_expiries e
            where e.tenant_id = $1 and e.set_no = any ($2)
            union all
           -- Withdrawn before the numbers of withdrawals were noted.
           select w.set_no, case when l.import_id is null then l.origin_lot_no else l.lot_no end, c.expires_at, -1
             from withdrawals w
             join cards c
               on c.tenant_id = w.tenant_id and c.set_no = w.set_no and c.lot_no = w.lot_no and c.ordinal = w.ordinal
             join lots l on l.tenant_id = w.tenant_id and l.set_no = w.set_no and l.lot_no = w.lot_no
            where w.tenant_id = $1 and w.set_no = any ($2) and w.number is null and c.expires_at is not null"#,
        tenant as TenantId,
        set_nos,
        times
    )
    .fetch_all(connection)
    .await
}

/// A set to export.
pub(super) struct ExportSet {
    pub set_no: i32,
    pub timezone: String,
}

/// Lists one set, unless it is deleted, or all sets of the tenant, including deleted ones.
pub(super) async fn list_export_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
    set: Option<Uuid>,
) -> sqlx::Result<Vec<ExportSet>> {
    sqlx::query_as!(
        ExportSet,
        r#"select s.set_no, s.timezone
             from coupon_sets s
            where s.tenant_id = $1 and ($2::uuid is null or (s.id = $2 and s.deleted_at is null))
            order by s.set_no"#,
        tenant as TenantId,
        set
    )
    .fetch_all(connection)
    .await
}

/// Lists the sets with ledger entries that are not rolled up.
pub(super) async fn list_lagging_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<Vec<LagRow>> {
    sqlx::query_as!(
        LagRow,
        r#"select t.set_no as "set_no!", t.number - t.rolled_up as "lag!"
             from statistics_tails t
            where t.tenant_id = $1 and t.rolled_up < t.number"#,
        tenant as TenantId
    )
    .fetch_all(connection)
    .await
}

/// A set with ledger numbers that are not rolled up.
pub(super) struct LagRow {
    pub set_no: i32,
    /// How many numbers.
    pub lag: i64,
}

/// Lists those of these sets whose ledgers are not rolled up to their ends.
pub(super) async fn list_lags(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
) -> sqlx::Result<Vec<LagRow>> {
    sqlx::query_as!(
        LagRow,
        r#"select t.set_no as "set_no!", t.number - t.rolled_up as "lag!"
             from statistics_tails t
            where t.tenant_id = $1 and t.set_no = any ($2) and t.rolled_up < t.number"#,
        tenant as TenantId,
        set_nos
    )
    .fetch_all(connection)
    .await
}

/// Lists the sets that lag least, up to a sum of `max_lag` ledger numbers that are not rolled up.
pub(super) async fn list_least_lagging_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    max_lag: i64,
) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar!(
        r#"select b.set_no as "set_no!"
             from (
               select t.set_no,
                      sum(t.number - t.rolled_up) over (order by t.number - t.rolled_up, t.set_no) as so_far
                 from statistics_tails t
                where t.tenant_id = $1 and t.set_no = any ($2)
             ) b
            where b.so_far::bigint <= $3"#,
        tenant as TenantId,
        set_nos,
        max_lag
    )
    .fetch_all(connection)
    .await
}

/// Rolls up at most `limit` ledger numbers of a set and returns how many it did.
pub(super) async fn roll_up(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    limit: i32,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select roll_up_statistics($1, $2, $3) as "done!""#,
        tenant as TenantId,
        set_no,
        limit
    )
    .fetch_one(connection)
    .await
}
