//! SQL of the retention.

use sqlx::PgConnection;

use crate::ids::{SetKey, TenantId};

/// Lists the sets of which a part of the ledger was removed, and then those that were deleted more than `days` days ago and still
/// have theirs.
pub(super) async fn list_removable_ledgers(
    connection: &mut PgConnection,
    tenant: TenantId,
    days: i32,
) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar!(
        "select set_no
           from coupon_sets
          where tenant_id = $1 and ledger_state <> 'removed'
            and (ledger_state = 'removing' or deleted_at < now() - make_interval(days => $2))
          order by ledger_state = 'kept', deleted_at",
        tenant as TenantId,
        days
    )
    .fetch_all(connection)
    .await
}

/// A portion of the rows of a ledger.
pub(super) struct RemovedRows {
    pub count: i32,
    /// The table to go on with; `None` after the last.
    pub next_table: Option<i32>,
}

/// Deletes up to `rows` rows of the codes and the ledger of a set that was deleted more than `days` days ago, from the table of
/// this number on. Deletes none while they are needed, or another session deletes rows of the tenant.
pub(super) async fn remove_ledger(
    connection: &mut PgConnection,
    set: SetKey,
    days: i32,
    table: i32,
    rows: i32,
) -> sqlx::Result<RemovedRows> {
    sqlx::query_as!(
        RemovedRows,
        r#"select deleted as "count!", next_table from remove_ledger($1, $2, $3, $4, $5)"#,
        set.tenant as TenantId,
        set.set_no,
        days,
        table,
        rows
    )
    .fetch_one(connection)
    .await
}
