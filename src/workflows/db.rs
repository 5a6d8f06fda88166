//! SQL of workflows.

use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{NewWorkflow, Workflow, WorkflowId, WorkflowState, WorkflowSummary};
use crate::ids::TenantId;

/// Inserts or updates a workflow without its sets. Returns true if it is new. The caller holds the set-shape lock.
pub(super) async fn put(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: &WorkflowId,
    new: &NewWorkflow,
) -> sqlx::Result<bool> {
    let replaced = sqlx::query!(
        "update workflows
            set name = $3, state = $4, updated_at = now()
          where tenant_id = $1 and workflow_id = $2",
        tenant as TenantId,
        id.0,
        new.name,
        new.state as WorkflowState
    )
    .execute(&mut *connection)
    .await?;
    if replaced.rows_affected() > 0 {
        return Ok(false);
    }
    sqlx::query!(
        "insert into workflows (tenant_id, workflow_id, name, state)
         values ($1, $2, $3, $4)",
        tenant as TenantId,
        id.0,
        new.name,
        new.state as WorkflowState
    )
    .execute(connection)
    .await?;
    Ok(true)
}

/// Replaces the sets that a workflow uses, in this order.
pub(super) async fn replace_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: &WorkflowId,
    set_nos: &[i32],
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from workflow_sets
          where tenant_id = $1 and workflow_id = $2",
        tenant as TenantId,
        id.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into workflow_sets (tenant_id, workflow_id, set_no, place)
         select $1, $2, u.set_no, u.place
           from unnest($3::integer[]) with ordinality as u (set_no, place)",
        tenant as TenantId,
        id.0,
        set_nos
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Maps the ids of sets to their numbers. Ids of sets that do not exist are absent.
pub(super) async fn find_set_nos(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, i32>> {
    let rows = sqlx::query!(
        "select id, set_no
           from coupon_sets
          where tenant_id = $1 and id = any ($2) and deleted_at is null",
        tenant as TenantId,
        sets
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.set_no)).collect())
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: &WorkflowId,
) -> sqlx::Result<Option<Workflow>> {
    sqlx::query_as!(
        Workflow,
        r#"select w.workflow_id as id, w.name, w.state as "state: WorkflowState", w.created_at, w.updated_at,
                  array(
                    select s.id
                      from workflow_sets u
                      join coupon_sets s on s.tenant_id = u.tenant_id and s.set_no = u.set_no
                     where u.tenant_id = $1 and u.workflow_id = w.workflow_id
                     order by u.place) as "coupon_set_ids!"
             from workflows w
            where w.tenant_id = $1 and w.workflow_id = $2"#,
        tenant as TenantId,
        id.0
    )
    .fetch_optional(connection)
    .await
}

/// Lists workflows in ascending order of ids after `after`, or in descending order before it if `back`.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<&str>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Workflow>> {
    sqlx::query_as!(
        Workflow,
        r#"with page as (
             (select w.*
                from workflows w
               where not $3 and w.tenant_id = $1 and ($2::text is null or w.workflow_id > $2)
               order by w.workflow_id
               limit $4)
             union all
             (select w.*
                from workflows w
               where $3 and w.tenant_id = $1 and w.workflow_id < $2
               order by w.workflow_id desc
               limit $4)
           )
           select w.workflow_id as "id!", w.name as "name!", w.state as "state!: WorkflowState", w.created_at as "created_at!",
                  w.updated_at as "updated_at!",
                  array(
                    select s.id
                      from workflow_sets u
                      join coupon_sets s on s.tenant_id = u.tenant_id and s.set_no = u.set_no
                     where u.tenant_id = $1 and u.workflow_id = w.workflow_id
                     order by u.place) as "coupon_set_ids!"
             from page w
            order by case when $3 then w.workflow_id end desc, w.workflow_id"#,
        tenant as TenantId,
        after,
        back,
        rows
    )
    .fetch_all(connection)
    .await
}

/// Deletes a workflow. Returns false if it does not exist.
pub(super) async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: &WorkflowId,
) -> sqlx::Result<bool> {
    let deleted = sqlx::query!(
        "delete from workflows
          where tenant_id = $1 and workflow_id = $2",
        tenant as TenantId,
        id.0
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Lists the unfinished workflows that use a set: up to 100, active ones first, then paused ones.
pub(crate) async fn list_of_set(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<Vec<WorkflowSummary>> {
    let workflows = sqlx::query_scalar!(
        r#"select users as "users!: Json<Vec<WorkflowSummary>>"
             from workflows_of_set($1, $2)"#,
        tenant as TenantId,
        set_no
    )
    .fetch_one(connection)
    .await?;
    Ok(workflows.0)
}

/// Lists the numbers of the sets that active workflows use.
pub(crate) async fn list_active_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar!(
        "select distinct u.set_no
           from workflows w
           join workflow_sets u on u.tenant_id = w.tenant_id and u.workflow_id = w.workflow_id
          where w.tenant_id = $1 and w.state = 'active'",
        tenant as TenantId
    )
    .fetch_all(connection)
    .await
}

/// Removes a set that is being deleted from all workflows.
pub(crate) async fn remove_set(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from workflow_sets
          where tenant_id = $1 and set_no = $2",
        tenant as TenantId,
        set_no
    )
    .execute(connection)
    .await?;
    Ok(())
}
