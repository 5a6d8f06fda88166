//! SQL of coupons. The database functions that it calls force plans of index lookups.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::lookup::SetSummary;
use super::{Coupon, CouponCursor, CouponFilter, CouponStatus};
use crate::assignments::{AssignmentState, id};
use crate::coupon_sets::{SetState, Type};
use crate::ids::{AssignmentKey, TenantId};
use crate::text_enum::text_enum;

/// Position of a card in the deck, and its cursor in a list.
pub(super) struct Card {
    pub set_no: i32,
    pub lot_no: i32,
    pub ordinal: i32,
    pub cursor: CouponCursor,
}

/// Lists the next cards in the order of the deck that may have the status of the filter.
pub(super) async fn list_in_deck_order(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &CouponFilter,
    (lot_no, ordinal): (i32, i32),
    back: bool,
    limit: i32,
) -> sqlx::Result<Vec<Card>> {
    let rows = sqlx::query!(
        r#"select lot_no as "lot_no!", ordinal as "ordinal!"
             from coupon_places($1, $2, $3, $4, $5, $6, $7)"#,
        tenant as TenantId,
        filter.set_no,
        filter.status as Option<CouponStatus>,
        lot_no,
        ordinal,
        back,
        limit
    )
    .fetch_all(connection)
    .await?;
    let card = |lot_no, ordinal| Card {
        set_no: filter.set_no,
        lot_no,
        ordinal,
        cursor: CouponCursor::Deck(lot_no, ordinal),
    };
    Ok(rows
        .into_iter()
        .map(|row| card(row.lot_no, row.ordinal))
        .collect())
}

/// Position of a card in the order of codes.
pub(super) struct CodeCursor<'a> {
    pub code: &'a str,
    pub set_no: i32,
    pub occurrence: i32,
}

/// Lists the next cards of all sets of the tenant whose codes begin with the prefix, in the order of codes.
pub(super) async fn list_in_code_order(
    connection: &mut PgConnection,
    tenant: TenantId,
    prefix: &str,
    after: &CodeCursor<'_>,
    back: bool,
    limit: i32,
) -> sqlx::Result<Vec<Card>> {
    let rows = sqlx::query!(
        r#"select code as "code!", set_no as "set_no!", occurrence as "occurrence!", lot_no as "lot_no!", ordinal as "ordinal!"
             from coupon_places_by_code($1, $2, $3, $4, $5, $6, $7)"#,
        tenant as TenantId,
        prefix,
        after.code,
        after.set_no,
        after.occurrence,
        back,
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Card {
            set_no: row.set_no,
            lot_no: row.lot_no,
            ordinal: row.ordinal,
            cursor: CouponCursor::Code(row.code, row.set_no, row.occurrence),
        })
        .collect())
}

/// Finds the coupons of these cards that match the filter, each with the index of its card.
pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &CouponFilter,
    cards: &[Card],
    rows: i32,
) -> sqlx::Result<Vec<(usize, Coupon)>> {
    let lots: Vec<i32> = cards.iter().map(|card| card.lot_no).collect();
    let ordinals: Vec<i32> = cards.iter().map(|card| card.ordinal).collect();
    let rows = sqlx::query!(
        r#"select place as "place!", code as "code!", status as "status!: CouponStatus", contact_id, number, assigned_at, import_id,
                  imported_at, expires_at, attributes
             from coupons_at($1, $2, $3, $4, $5, $6)"#,
        tenant as TenantId,
        filter.set_no,
        &lots,
        &ordinals,
        filter.status as Option<CouponStatus>,
        rows
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let index = usize::try_from(row.place - 1).expect("places count from 1");
            let assignment_id = row.number.zip(row.assigned_at).map(|(number, at)| {
                let set_no = filter.set_no;
                id::encode(AssignmentKey { set_no, number }, at)
            });
            let coupon = Coupon {
                code: row.code,
                status: row.status,
                contact_id: row.contact_id,
                assignment_id,
                import_id: row.import_id,
                imported_at: row.imported_at,
                expires_at: row.expires_at,
                attributes: row.attributes,
            };
            (index, coupon)
        })
        .collect())
}

text_enum! {
    /// Result of the withdrawal of one code.
    pub(super) enum WithdrawalOutcome {
        Withdrawn = "withdrawn",
        AlreadyWithdrawn = "alreadyWithdrawn",
        NotFound = "notFound",
        HandedOut = "handedOut",
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Withdrawal {
    pub outcome: WithdrawalOutcome,
    /// State of the assignment, if the code was assigned.
    pub state: Option<AssignmentState>,
}

/// Withdraws codes and returns the results in their order. There are none if the set is deleted.
pub(super) async fn withdraw(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    codes: &[String],
    caller: Option<Uuid>,
    reason: Option<&str>,
) -> sqlx::Result<Vec<Withdrawal>> {
    sqlx::query_as!(
        Withdrawal,
        r#"select outcome as "outcome!: WithdrawalOutcome", state as "state: AssignmentState"
             from withdraw_coupons($1, $2, $3, $4, $5)
            order by item"#,
        tenant as TenantId,
        set_no,
        codes,
        caller as Option<Uuid>,
        reason
    )
    .fetch_all(connection)
    .await
}

/// A tenant with its number.
pub(super) struct NumberedTenant {
    pub number: TenantId,
    pub id: Uuid,
}

/// Finds the tenants with these numbers.
pub(super) async fn find_tenants(
    connection: &mut PgConnection,
    numbers: &[i32],
) -> sqlx::Result<Vec<NumberedTenant>> {
    sqlx::query_as!(
        NumberedTenant,
        r#"select tenant_id as "number: TenantId", id
             from tenants
            where tenant_id = any($1)"#,
        numbers
    )
    .fetch_all(connection)
    .await
}

/// The cards of a lot after one and up to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct LotRange {
    pub set_no: i32,
    pub lot_no: i32,
    pub after: i32,
    pub last: i32,
}

/// Finds the lot of a finished import in which a code has this place: that of the import, or else of the newest one, such as of
/// the same file that was imported again.
pub(super) async fn find_lot(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    import: Uuid,
    ordinal: i32,
    code: &str,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select c.lot_no
           from cards c
           join lots l on l.tenant_id = c.tenant_id and l.set_no = c.set_no and l.lot_no = c.lot_no
          -- `+ 0` excludes the primary key, which would read the whole set.
          where c.tenant_id = $1 and c.code = $2 and c.set_no + 0 = $3 and c.ordinal = $4
            and l.import_id is not null and l.state in ('open', 'closed')
          order by l.import_id = $5 desc, c.occurrence desc
          limit 1",
        tenant as TenantId,
        code,
        set_no,
        ordinal,
        import
    )
    .fetch_optional(connection)
    .await
}

/// A card with its place in its lot.
pub(super) struct PlacedCode {
    pub ordinal: i32,
    pub code: String,
}

/// Lists the cards of a range that are to be assigned yet.
pub(super) async fn list_unassigned(
    connection: &mut PgConnection,
    tenant: TenantId,
    range: &LotRange,
    limit: i64,
) -> sqlx::Result<Vec<PlacedCode>> {
    sqlx::query_as!(
        PlacedCode,
        "select c.ordinal, c.code
           from cards c
          where c.tenant_id = $1 and c.set_no = $2 and c.lot_no = $3 and c.ordinal > $4 and c.ordinal <= $5
            and c.ordinal > coalesce((
              select a.ordinal
                from assignments a
               where a.tenant_id = $1 and a.set_no = $2 and a.lot_no = $3
               order by a.ordinal desc
               limit 1), 0)
            and not is_withdrawn($1, $2, $3, c.ordinal)
          order by c.ordinal
          limit $6",
        tenant as TenantId,
        range.set_no,
        range.lot_no,
        range.after,
        range.last,
        limit
    )
    .fetch_all(connection)
    .await
}

/// Returns those of the codes that were assigned again after the backup, at these times, and releases the assignments that
/// still hold them.
pub(super) async fn release_superseded(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    codes: &[String],
    ats: &[DateTime<Utc>],
    reason: &str,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select release_superseded($1, $2, $3, $4, $5) as "codes!""#,
        tenant as TenantId,
        set_no,
        codes,
        ats,
        reason
    )
    .fetch_one(connection)
    .await
}

/// A page of the sets that have a code, from the newest to the oldest, after a set number or before it if `back`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetPageRequest {
    pub after: Option<i32>,
    pub back: bool,
    pub rows: i32,
}

/// A set that has the requested code.
pub(super) struct MatchingSet {
    pub set_no: i32,
    pub coupon_set: SetSummary,
    /// The most recently added coupon with the code. `None` for a `single` set.
    pub coupon: Option<Coupon>,
    /// Ledger numbers of the assignments of the code, newest first.
    pub numbers: Vec<i64>,
}

/// Finds the sets that have a code, with up to `max_assignments` of its assignments each. `folded` is the case-folded
/// code, for which sets that ignore case are searched.
pub(super) async fn find_sets_with_code(
    connection: &mut PgConnection,
    tenant: TenantId,
    code: &str,
    folded: &str,
    page: SetPageRequest,
    max_assignments: i32,
) -> sqlx::Result<Vec<MatchingSet>> {
    // The search yields the newest sets first. So a page backwards finds all newer sets and takes the nearest ones.
    let (above, below, found) = match (page.after, page.back) {
        (Some(after), true) => (after, i32::MAX, i32::MAX),
        (after, _) => (0, after.unwrap_or(i32::MAX), page.rows),
    };
    let rows = sqlx::query!(
        r#"with page as (
             select p.*, row_number() over (order by p.set_no) * case when $7 then 1 else -1 end as place
               from code_places($1, $2, $3, $4, $5, $6) p
              order by place
              limit $8
           )
           select p.set_no as "set_no!", s.id, s.name, s.type as "kind: Type", s.timezone, s.deleted_at,
                  coupon_set_state(s.expires_at, n.available) as "state!: SetState",
                  c.code as "code?", c.status as "status?: CouponStatus", c.contact_id, c.number, c.assigned_at, c.import_id,
                  c.imported_at, c.expires_at, c.attributes,
                  code_assignments($1, p.set_no, $2, $3, $9) as "numbers!"
             from page p
             join coupon_sets s on s.tenant_id = $1 and s.set_no = p.set_no
             join coupon_set_counters n on n.tenant_id = $1 and n.set_no = p.set_no
             left join lateral coupons_at($1, p.set_no, array[p.lot_no], array[p.ordinal], null, 1) c on true
            order by p.place"#,
        tenant as TenantId,
        code,
        folded,
        above,
        below,
        found,
        page.back,
        i64::from(page.rows),
        max_assignments
    )
    .fetch_all(connection)
    .await?;
    let sets = rows.into_iter().map(|row| {
        let set_no = row.set_no;
        let assignment_id = row
            .number
            .zip(row.assigned_at)
            .map(|(number, at)| id::encode(AssignmentKey { set_no, number }, at));
        MatchingSet {
            set_no,
            coupon: row.code.zip(row.status).map(|(code, status)| Coupon {
                code,
                status,
                contact_id: row.contact_id,
                assignment_id,
                import_id: row.import_id,
                imported_at: row.imported_at,
                expires_at: row.expires_at,
                attributes: row.attributes,
            }),
            coupon_set: SetSummary {
                id: row.id,
                name: row.name,
                kind: row.kind,
                state: row.state,
                timezone: row.timezone,
                deleted_at: row.deleted_at,
            },
            numbers: row.numbers,
        }
    });
    Ok(sets.collect())
}
