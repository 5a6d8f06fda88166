//! SQL of coupon sets.

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::availability::ChainMember;
use super::http::Column;
use super::policies::{OnRepeat, SameCodeUntil};
use super::stock::Stock;
use super::{ChainFault, CouponSet, SetState, Type};
use crate::database::has_code;
use crate::ids::TenantId;
use crate::time_zone::Zone;
use crate::workflows::WorkflowSummary;

/// Returns true if the set has no codes and no queued or running import.
pub(super) async fn is_empty(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select not exists (
                    select 1
                      from lots l
                     where l.tenant_id = $1 and l.set_no = $2 and l.size > 0)
              and not exists (
                    select 1
                      from imports i
                     where i.tenant_id = $1 and i.set_no = $2 and i.status in ('queued', 'inProgress')) as "is!""#,
        tenant as TenantId,
        set_no
    )
    .fetch_one(connection)
    .await
}

/// Locks a set against assignment, publication of lots and changes, and returns its number.
pub(super) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select set_no
           from coupon_sets
          where tenant_id = $1 and id = $2 and deleted_at is null
            for no key update",
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await
}

pub(crate) async fn find_no(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select set_no
           from coupon_sets
          where tenant_id = $1 and id = $2 and deleted_at is null",
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await
}

pub(super) async fn find_no_and_kind(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<(i32, Type)>> {
    let found = sqlx::query!(
        r#"select set_no, type as "kind: Type"
             from coupon_sets
            where tenant_id = $1 and id = $2 and deleted_at is null"#,
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| (found.set_no, found.kind)))
}

/// Finds the number of a set, including deleted ones.
pub(crate) async fn find_no_of_any(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select set_no
           from coupon_sets
          where tenant_id = $1 and id = $2",
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await
}

/// Filters numbers to those of sets, including deleted ones.
pub(crate) async fn find_nos(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar!(
        "select set_no
           from coupon_sets
          where tenant_id = $1 and set_no = any ($2)",
        tenant as TenantId,
        set_nos
    )
    .fetch_all(connection)
    .await
}

pub(super) struct NewSetRow<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub name_key: &'a str,
    pub kind: Type,
    pub code: Option<&'a str>,
    pub quantity: Option<i32>,
    pub child_no: Option<i32>,
}

/// Inserts a set and returns its number. The caller holds the set-shape lock, so set numbers are unique.
pub(super) async fn create(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewSetRow<'_>,
) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        "insert into coupon_sets (tenant_id, set_no, id, name, name_key, type, code, quantity, child_set_no)
         select $1, coalesce(max(s.set_no), 0) + 1, $2, $3, $4, $5, $6, $7, $8
           from coupon_sets s
          where s.tenant_id = $1
         returning set_no",
        tenant as TenantId,
        new.id,
        new.name,
        new.name_key,
        new.kind as Type,
        new.code,
        new.quantity,
        new.child_no
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<CouponSet>> {
    sqlx::query_as!(
        CouponSet,
        r#"select s.set_no, s.id, s.name, s.type as "kind: Type", s.code, s.on_repeat as "on_repeat: OnRepeat", s.created_at, s.updated_at,
                  c.quantity, c.available, c.reserved as "reserved!", c.assigned as "assigned!", c.sent as "sent!",
                  c.used as "used!", c.released as "released!", c.void as "void!", c.expired as "expired!", c.withdrawn as "withdrawn!",
                  coupon_set_state(s.expires_at, c.available) as "state!: SetState",
                  coupon_set_stock(c.available, s.low_stock_threshold, false) as "stock!: Stock", s.low_stock_threshold,
                  w.users as "used_in_workflows!: Json<Vec<WorkflowSummary>>",
                  s.same_code_until as "same_code_until: SameCodeUntil", s.assignments_per_contact, s.expires_at, s.timezone, s.valid_for_days,
                  s.unique_in_tenant, s.ignore_case,
                  child.id as "child_coupon_set_id?", '' as "sort_key!"
             from coupon_sets s
             join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
            cross join workflows_of_set($1, s.set_no) w
             left join coupon_sets child on child.tenant_id = s.tenant_id and child.set_no = s.child_set_no
            where s.tenant_id = $1 and s.id = $2 and s.deleted_at is null"#,
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await
}

pub(super) struct SetListFilter<'a> {
    /// Substring of the case-folded name.
    pub name_part: Option<String>,
    pub kind: Option<Type>,
    pub state: Option<SetState>,
    pub stock: Option<Stock>,
    /// Numbers of the sets that run out soon.
    pub run_out: &'a [i32],
    pub sort: Column,
    pub descending: bool,
    pub after: Option<(&'a str, Uuid)>,
    pub rows: i64,
}

/// Lists a page of sets. A tenant has thousands of sets at most, so each page reads and sorts all of them.
///
/// Counters are computed only for the rows of the page, unless the list is filtered or sorted by them. Ids rise with the
/// time of creation. Unlimited sets sort as the most available.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &SetListFilter<'_>,
) -> sqlx::Result<Vec<CouponSet>> {
    sqlx::query_as!(
        CouponSet,
        r#"with keyed as (
             select s.set_no, s.id,
                    case $4
                      when 'name' then s.name_key
                      when 'type' then s.type
                      when 'available' then lpad(coalesce(c.available, 9223372036854775807)::text, 19, '0')
                      when 'assigned' then lpad(c.assigned::text, 19, '0')
                      when 'sent' then lpad(c.sent::text, 19, '0')
                      when 'used' then lpad(c.used::text, 19, '0')
                      else ''
                    end collate "C" as sort_key
               from coupon_sets s
               left join lateral (
                 select c.available, c.assigned, c.sent, c.used
                   from coupon_set_counters c
                  where ($4 in ('available', 'assigned', 'sent', 'used') or $9::text is not null or $10::text is not null)
                    and c.tenant_id = s.tenant_id and c.set_no = s.set_no
               ) c on true
              where s.tenant_id = $1 and s.deleted_at is null
                and ($2::text is null or position($2 in s.name_key) > 0)
                and ($3::text is null or s.type = $3)
                and ($9::text is null or coupon_set_state(s.expires_at, c.available) = $9)
                and ($10::text is null
                     or coupon_set_stock(c.available, s.low_stock_threshold, s.set_no = any ($11)) = $10)
           ), ranked as (
             select k.*, row_number() over (order by k.sort_key, k.id) * (case when $5 then -1 else 1 end) as rank
               from keyed k
           ), page as (
             select *
               from ranked r
              where $6::text is null
                 or case when $5 then (r.sort_key, r.id) < ($6, $7::uuid) else (r.sort_key, r.id) > ($6, $7::uuid) end
              order by r.rank
              limit $8
           )
           select s.set_no as "set_no!", s.id as "id!", s.name as "name!", s.type as "kind!: Type", s.code, s.on_repeat as "on_repeat!: OnRepeat",
                  s.created_at as "created_at!", s.updated_at as "updated_at!",
                  c.quantity, c.available, c.reserved as "reserved!", c.assigned as "assigned!", c.sent as "sent!",
                  c.used as "used!", c.released as "released!", c.void as "void!", c.expired as "expired!", c.withdrawn as "withdrawn!",
                  coupon_set_state(s.expires_at, c.available) as "state!: SetState",
                  coupon_set_stock(c.available, s.low_stock_threshold, s.set_no = any ($11)) as "stock!: Stock",
                  s.low_stock_threshold,
                  w.users as "used_in_workflows!: Json<Vec<WorkflowSummary>>",
                  s.same_code_until as "same_code_until!: SameCodeUntil", s.assignments_per_contact, s.expires_at,
                  s.timezone as "timezone!", s.valid_for_days,
                  s.unique_in_tenant as "unique_in_tenant!", s.ignore_case as "ignore_case!",
                  child.id as "child_coupon_set_id?", page.sort_key as "sort_key!"
             from page
             join coupon_sets s on s.tenant_id = $1 and s.set_no = page.set_no
             join coupon_set_counters c on c.tenant_id = $1 and c.set_no = page.set_no
            cross join workflows_of_set($1, s.set_no) w
             left join coupon_sets child on child.tenant_id = $1 and child.set_no = s.child_set_no
            order by page.rank"#,
        tenant as TenantId,
        filter.name_part.as_deref(),
        filter.kind as Option<Type>,
        filter.sort as Column,
        filter.descending,
        filter.after.map(|(key, _)| key),
        filter.after.map(|(_, id)| id),
        filter.rows,
        filter.state as Option<SetState>,
        filter.stock as Option<Stock>,
        filter.run_out
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn set_quantity(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    quantity: Option<i32>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update coupon_sets
            set quantity = $3, updated_at = now()
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no,
        quantity
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_child(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    child_no: Option<i32>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update coupon_sets
            set child_set_no = $3, updated_at = now()
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no,
        child_no
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_name(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    name: &str,
    name_key: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update coupon_sets
            set name = $3, name_key = $4, updated_at = now()
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no,
        name,
        name_key
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores the policies of `set`.
pub(super) async fn set_policies(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    set: &CouponSet,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update coupon_sets
            set on_repeat = $3, same_code_until = $4, assignments_per_contact = $5, expires_at = $6, timezone = $7,
                valid_for_days = $8, unique_in_tenant = $9, ignore_case = $10, low_stock_threshold = $11,
                updated_at = now()
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no,
        set.on_repeat as OnRepeat,
        set.same_code_until as SameCodeUntil,
        set.assignments_per_contact,
        set.expires_at,
        set.timezone,
        set.valid_for_days,
        set.unique_in_tenant,
        set.ignore_case,
        set.low_stock_threshold
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns true if the database supports the time zone. If it does not, the transaction is aborted.
pub(super) async fn supports_zone(connection: &mut PgConnection, zone: Zone) -> sqlx::Result<bool> {
    let result = sqlx::query!("select now() at time zone $1 as local", zone.name())
        .fetch_one(connection)
        .await;
    match result {
        // invalid_parameter_value
        Err(error) if has_code(&error, &["22023"]) => Ok(false),
        result => result.map(|_| true),
    }
}

/// Finds a fault of the chains that contain this set. They start at the set and at each of its direct and indirect
/// parents.
pub(super) async fn find_chain_fault(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<Option<ChainFault>> {
    sqlx::query_scalar!(
        r#"with recursive heads (set_no, depth) as (
             select $2::integer, 1
             union
             select s.set_no, h.depth + 1
               from heads h
               join coupon_sets s on s.tenant_id = $1 and s.child_set_no = h.set_no and s.deleted_at is null
              where h.depth < 6
           )
           select c.fault as "fault!: ChainFault"
             from heads h
            cross join lateral coupon_set_chain($1, h.set_no, null) c
            where c.fault is not null
            order by c.fault desc
            limit 1"#,
        tenant as TenantId,
        set_no
    )
    .fetch_optional(connection)
    .await
}

/// Lists the set and its child sets in the order in which they assign codes, up to the first fault of the chain. The list
/// is empty if the set does not exist.
pub(super) async fn list_chain(
    connection: &mut PgConnection,
    tenant: TenantId,
    set: Uuid,
    child: Option<Uuid>,
) -> sqlx::Result<Vec<ChainMember>> {
    sqlx::query_as!(
        ChainMember,
        r#"select s.id as coupon_set_id, n.available, c.fault as "fault: ChainFault"
             from coupon_sets asked
            cross join lateral coupon_set_chain($1, asked.set_no, $3) c
            cross join lateral unnest(c.chain) with ordinality as l (set_no, place)
             join coupon_sets s on s.tenant_id = $1 and s.set_no = l.set_no
             join coupon_set_counters n on n.tenant_id = $1 and n.set_no = l.set_no
            where asked.tenant_id = $1 and asked.id = $2 and asked.deleted_at is null
            order by l.place"#,
        tenant as TenantId,
        set,
        child as Option<Uuid>
    )
    .fetch_all(connection)
    .await
}

/// Lists the names of up to 100 sets that fall back to this one.
pub(super) async fn list_parents(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select name
           from coupon_sets
          where tenant_id = $1 and child_set_no = $2 and deleted_at is null
          order by name_key
          limit 100",
        tenant as TenantId,
        set_no
    )
    .fetch_all(connection)
    .await
}

/// Marks a set as deleted and cancels its imports. The reference to its child set is removed, so that the child can be
/// deleted too.
pub(super) async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update coupon_sets
            set deleted_at = now(), child_set_no = null
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("select cancel_imports($1, $2)", tenant as TenantId, set_no)
        .execute(connection)
        .await?;
    Ok(())
}
