//! SQL of the lists of assignments: one statement per access path to the log.
//!
//! Each statement uses keyset pagination by `(assigned_at, set_no, number)`, newest first. `back` reads the page before the
//! cursor, in the opposite order. Branches that do not apply are never executed. Filters other than the access path apply
//! to the rows that it finds.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::AssignmentCursor;
use crate::assignments::{Assignment, AssignmentState, id};
use crate::ids::{AssignmentKey, TenantId};

/// Filters of a list besides its access path.
#[derive(Debug, Default)]
pub(super) struct AssignmentFilter<'a> {
    /// The set that the code is from.
    pub set_no: Option<i32>,
    pub workflow_id: Option<&'a str>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

/// The requested page of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRequest {
    pub after: Option<AssignmentCursor>,
    pub back: bool,
    pub rows: i64,
}

/// Lists the assignments of a contact and of those merged with it; with `usable`, only those whose code can still be used.
/// A contact has few assignments, so all are read and sorted.
pub(super) async fn list_by_contact(
    connection: &mut PgConnection,
    tenant: TenantId,
    contact_id: &str,
    filter: &AssignmentFilter<'_>,
    usable: bool,
    page: PageRequest,
) -> sqlx::Result<Vec<AssignmentCursor>> {
    sqlx::query_as!(
        AssignmentCursor,
        r#"with found as (
              select a.assigned_at, a.set_no, a.number
                from contact_assignments($1, $2, $12) a
               where ($3::integer is null or a.set_no = $3)
                 and ($4::text is null or a.workflow_id = $4)
                 and ($5::timestamptz is null or a.assigned_at >= $5)
                 and ($6::timestamptz is null or a.assigned_at < $6)
           ), ranked as (
              select f.*,
                     row_number() over (order by f.assigned_at, f.set_no, f.number)
                       * case when $7 then 1 else -1 end as rank
                from found f
               where $8::timestamptz is null
                  or case
                       when $7 then (f.assigned_at, f.set_no, f.number) > ($8, $9::integer, $10::bigint)
                       else (f.assigned_at, f.set_no, f.number) < ($8, $9::integer, $10::bigint)
                     end
           )
           select set_no as "set_no!", number as "number!", assigned_at as "assigned_at!"
             from ranked
            order by rank
            limit $11"#,
        tenant as TenantId,
        contact_id,
        filter.set_no,
        filter.workflow_id,
        filter.from,
        filter.to,
        page.back,
        page.after.map(|cursor| cursor.assigned_at),
        page.after.map(|cursor| cursor.set_no),
        page.after.map(|cursor| cursor.number),
        page.rows,
        usable
    )
    .fetch_all(connection)
    .await
}

/// Lists the assignments of cards with this code, and those of `single` sets with this code.
pub(super) async fn list_by_code(
    connection: &mut PgConnection,
    tenant: TenantId,
    code: &str,
    contact_id: Option<&str>,
    filter: &AssignmentFilter<'_>,
    page: PageRequest,
) -> sqlx::Result<Vec<AssignmentCursor>> {
    sqlx::query_as!(
        AssignmentCursor,
        r#"with found as (
              select a.assigned_at, a.set_no, a.number
                from card_assignments($1, $2, $3) a
               where ($4::text is null or a.workflow_id = $4)
                 and ($5::timestamptz is null or a.assigned_at >= $5)
                 and ($6::timestamptz is null or a.assigned_at < $6)
                 and ($12::text is null or a.contact_no = any ((select contact_family($1, $12))::bigint[]))
               union all
              select a.assigned_at, a.set_no, a.number
                from coupon_sets s
               cross join lateral (
                 (select a.assigned_at, a.set_no, a.number
                    from assignments a
                   where not $7 and a.tenant_id = $1 and a.set_no = s.set_no
                     and ($3::integer is null or a.set_no = $3)
                 and ($4::text is null or a.workflow_id = $4)
                 and ($5::timestamptz is null or a.assigned_at >= $5)
                 and ($6::timestamptz is null or a.assigned_at < $6)
                 and ($12::text is null or a.contact_no = any ((select contact_family($1, $12))::bigint[]))
                     and ($8::timestamptz is null
                          or (a.assigned_at, a.set_no, a.number) < ($8, $9::integer, $10::bigint))
                   order by a.number desc
                   limit $11)
                  union all
                 (select a.assigned_at, a.set_no, a.number
                    from assignments a
                   where $7 and a.tenant_id = $1 and a.set_no = s.set_no
                     and ($3::integer is null or a.set_no = $3)
                 and ($4::text is null or a.workflow_id = $4)
                 and ($5::timestamptz is null or a.assigned_at >= $5)
                 and ($6::timestamptz is null or a.assigned_at < $6)
                 and ($12::text is null or a.contact_no = any ((select contact_family($1, $12))::bigint[]))
                     and (a.assigned_at, a.set_no, a.number) > ($8, $9::integer, $10::bigint)
                   order by a.number
                   limit $11)
               ) a
               where s.tenant_id = $1 and s.code = $2
           ), ranked as (
              select f.*,
                     row_number() over (order by f.assigned_at, f.set_no, f.number)
                       * case when $7 then 1 else -1 end as rank
                from found f
               where $8::timestamptz is null
                  or case
                       when $7 then (f.assigned_at, f.set_no, f.number) > ($8, $9::integer, $10::bigint)
                       else (f.assigned_at, f.set_no, f.number) < ($8, $9::integer, $10::bigint)
                     end
           )
           select set_no as "set_no!", number as "number!", assigned_at as "assigned_at!"
             from ranked
            order by rank
            limit $11"#,
        tenant as TenantId,
        code,
        filter.set_no,
        filter.workflow_id,
        filter.from,
        filter.to,
        page.back,
        page.after.map(|cursor| cursor.assigned_at),
        page.after.map(|cursor| cursor.set_no),
        page.after.map(|cursor| cursor.number),
        page.rows,
        contact_id
    )
    .fetch_all(connection)
    .await
}

/// Lists the assignments that a set served. The numbers of its ledger rise with time, so the number alone is the key.
pub(super) async fn list_by_set(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    filter: &AssignmentFilter<'_>,
    page: PageRequest,
) -> sqlx::Result<Vec<AssignmentCursor>> {
    sqlx::query_as!(
        AssignmentCursor,
        r#"(select set_no as "set_no!", number as "number!", assigned_at as "assigned_at!"
              from assignments
             where not $6 and tenant_id = $1 and set_no = $2 and ($7::bigint is null or number < $7)
               and ($3::text is null or workflow_id = $3)
               and ($4::timestamptz is null or assigned_at >= $4)
               and ($5::timestamptz is null or assigned_at < $5)
             order by number desc
             limit $8)
           union all
           (select set_no, number, assigned_at
              from assignments
             where $6 and tenant_id = $1 and set_no = $2 and number > $7
               and ($3::text is null or workflow_id = $3)
               and ($4::timestamptz is null or assigned_at >= $4)
               and ($5::timestamptz is null or assigned_at < $5)
             order by number
             limit $8)"#,
        tenant as TenantId,
        set_no,
        filter.workflow_id,
        filter.from,
        filter.to,
        page.back,
        page.after.map(|cursor| cursor.number),
        page.rows
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn list_by_workflow(
    connection: &mut PgConnection,
    tenant: TenantId,
    workflow_id: &str,
    filter: &AssignmentFilter<'_>,
    page: PageRequest,
) -> sqlx::Result<Vec<AssignmentCursor>> {
    sqlx::query_as!(
        AssignmentCursor,
        r#"(select set_no as "set_no!", number as "number!", assigned_at as "assigned_at!"
              from assignments
             where not $5 and tenant_id = $1 and workflow_id = $2
               and assigned_at >= coalesce($3, '-infinity'::timestamptz)
               and assigned_at < coalesce($4, 'infinity'::timestamptz)
               and (assigned_at, set_no, number)
                   < (coalesce($6, 'infinity'::timestamptz), coalesce($7, 0), coalesce($8, 0::bigint))
             order by assigned_at desc, set_no desc, number desc
             limit $9)
           union all
           (select set_no, number, assigned_at
              from assignments
             where $5 and tenant_id = $1 and workflow_id = $2
               and assigned_at >= coalesce($3, '-infinity'::timestamptz)
               and assigned_at < coalesce($4, 'infinity'::timestamptz)
               and (assigned_at, set_no, number) > ($6, $7::integer, $8::bigint)
             order by assigned_at, set_no, number
             limit $9)"#,
        tenant as TenantId,
        workflow_id,
        filter.from,
        filter.to,
        page.back,
        page.after.map(|cursor| cursor.assigned_at),
        page.after.map(|cursor| cursor.set_no),
        page.after.map(|cursor| cursor.number),
        page.rows
    )
    .fetch_all(connection)
    .await
}

/// Lists the assignments of a tenant by time: the first rows of each workflow, merged. The workflows are found by a loose
/// index scan.
pub(super) async fn list_by_time(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &AssignmentFilter<'_>,
    page: PageRequest,
) -> sqlx::Result<Vec<AssignmentCursor>> {
    sqlx::query_as!(
        AssignmentCursor,
        r#"with recursive workflows as (
             (select workflow_id
                from assignments
               where tenant_id = $1 and workflow_id is not null
               order by workflow_id
               limit 1)
              union all
             select (select a.workflow_id
                       from assignments a
                      where a.tenant_id = $1 and a.workflow_id > w.workflow_id
                      order by a.workflow_id
                      limit 1)
               from workflows w
              where w.workflow_id is not null
           ), newest as (
             select n.*
               from (select workflow_id from workflows where workflow_id is not null) w
              cross join lateral (
                select a.assigned_at, a.set_no, a.number
                  from assignments a
                 where not $4 and a.tenant_id = $1 and a.workflow_id = w.workflow_id
                   and a.assigned_at >= coalesce($2, '-infinity'::timestamptz)
                   and a.assigned_at < coalesce($3, 'infinity'::timestamptz)
                   and (a.assigned_at, a.set_no, a.number)
                       < (coalesce($5, 'infinity'::timestamptz), coalesce($6, 0), coalesce($7, 0::bigint))
                 order by a.assigned_at desc, a.set_no desc, a.number desc
                 limit $8
              ) n
              union all
             (select a.assigned_at, a.set_no, a.number
                from assignments a
               where not $4 and a.tenant_id = $1 and a.workflow_id is null
                 and a.assigned_at >= coalesce($2, '-infinity'::timestamptz)
                 and a.assigned_at < coalesce($3, 'infinity'::timestamptz)
                 and (a.assigned_at, a.set_no, a.number)
                     < (coalesce($5, 'infinity'::timestamptz), coalesce($6, 0), coalesce($7, 0::bigint))
               order by a.assigned_at desc, a.set_no desc, a.number desc
               limit $8)
           ), oldest as (
             select o.*
               from (select workflow_id from workflows where workflow_id is not null) w
              cross join lateral (
                select a.assigned_at, a.set_no, a.number
                  from assignments a
                 where $4 and a.tenant_id = $1 and a.workflow_id = w.workflow_id
                   and a.assigned_at >= coalesce($2, '-infinity'::timestamptz)
                   and a.assigned_at < coalesce($3, 'infinity'::timestamptz)
                   and (a.assigned_at, a.set_no, a.number) > ($5, $6::integer, $7::bigint)
                 order by a.assigned_at, a.set_no, a.number
                 limit $8
              ) o
              union all
             (select a.assigned_at, a.set_no, a.number
                from assignments a
               where $4 and a.tenant_id = $1 and a.workflow_id is null
                 and a.assigned_at >= coalesce($2, '-infinity'::timestamptz)
                 and a.assigned_at < coalesce($3, 'infinity'::timestamptz)
                 and (a.assigned_at, a.set_no, a.number) > ($5, $6::integer, $7::bigint)
               order by a.assigned_at, a.set_no, a.number
               limit $8)
           )
           (select set_no as "set_no!", number as "number!", assigned_at as "assigned_at!"
              from newest
             order by assigned_at desc, set_no desc, number desc
             limit $8)
           union all
           (select set_no, number, assigned_at
              from oldest
             order by assigned_at, set_no, number
             limit $8)"#,
        tenant as TenantId,
        filter.from,
        filter.to,
        page.back,
        page.after.map(|cursor| cursor.assigned_at),
        page.after.map(|cursor| cursor.set_no),
        page.after.map(|cursor| cursor.number),
        page.rows
    )
    .fetch_all(connection)
    .await
}

/// Returns the number of the first assignment of a set in a period, and that of the first one after the period.
pub(super) async fn export_range(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"select first_assignment($1, $2, coalesce($3::timestamptz, '-infinity')) as "first!",
                  first_assignment($1, $2, coalesce($4::timestamptz, 'infinity')) as "end!""#,
        tenant as TenantId,
        set_no,
        from,
        to
    )
    .fetch_one(connection)
    .await?;
    Ok((row.first, row.end))
}

pub(super) async fn export_numbers(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
    after: i64,
    before: i64,
    rows: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select a.number
           from assignments a
          where a.tenant_id = $1 and a.set_no = $2 and a.number > $3 and a.number < $4
          order by a.number
          limit $5",
        tenant as TenantId,
        set_no,
        after,
        before,
        rows
    )
    .fetch_all(connection)
    .await
}

struct Row {
    set_no: i32,
    number: i64,
    code: String,
    set_id: Uuid,
    requested_set_id: Uuid,
    contact_id: String,
    assigned_at: DateTime<Utc>,
    state: String,
    reserved_until: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    timezone: String,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    attributes: Option<Value>,
}

impl From<Row> for Assignment {
    fn from(row: Row) -> Self {
        Self {
            id: id::encode(
                AssignmentKey {
                    set_no: row.set_no,
                    number: row.number,
                },
                row.assigned_at,
            ),
            coupon_code: row.code,
            coupon_set_id: row.set_id,
            requested_coupon_set_id: row.requested_set_id,
            contact_id: row.contact_id,
            state: AssignmentState::parse(&row.state)
                .expect("the database knows these states only"),
            assigned_at: row.assigned_at,
            // The column is also set for a reservation that has expired and that the sweeper has not ended yet.
            reserved_until: row.reserved_until.filter(|_| row.state == "reserved"),
            expires_at: row.expires_at,
            timezone: row.timezone,
            workflow_id: row.workflow_id,
            node_id: row.node_id,
            execution_id: row.execution_id,
            attributes: row.attributes,
        }
    }
}

/// Reads the assignments of these keys, in the order of the keys.
pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    keys: &[AssignmentKey],
) -> sqlx::Result<Vec<Assignment>> {
    let set_nos: Vec<i32> = keys.iter().map(|key| key.set_no).collect();
    let numbers: Vec<i64> = keys.iter().map(|key| key.number).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select set_no as "set_no!", number as "number!", code as "code!", set_id as "set_id!",
                  requested_set_id as "requested_set_id!", contact_id as "contact_id!",
                  assigned_at as "assigned_at!", state as "state!", reserved_until, expires_at,
                  timezone as "timezone!", workflow_id, node_id, execution_id, attributes
             from assignments_at($1, $2, $3)
            order by place"#,
        tenant as TenantId,
        &set_nos,
        &numbers
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Assignment::from).collect())
}
