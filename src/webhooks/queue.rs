//! SQL of the senders and the cleaner: leases of endpoints, due deliveries, results of attempts, and retention.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::client::Endpoint;
use super::deliveries::DeliveryState;
use crate::ids::{AssignmentKey, TenantId};

/// A claim of this sender to an endpoint, for a limited time. The epoch is its fencing token: it becomes invalid as soon
/// as another sender claims the endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub tenant: TenantId,
    pub webhook_no: i32,
    pub epoch: i32,
    /// No attempt has succeeded since the last failure.
    pub is_failing: bool,
}

/// A delivery that is due.
pub(super) struct DueDelivery {
    pub delivery_no: i64,
    pub id: Uuid,
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    pub attempts: i32,
    pub replayed_after: i32,
    pub set_no: Option<i32>,
    pub ledger_number: Option<i64>,
    /// The number of the assignment that is the ledger entry, or that the ledger entry is about.
    pub assignment_number: Option<i64>,
    pub payload: Option<Value>,
}

impl DueDelivery {
    /// The assignment that the message is about. `None` if the delivery has a payload of its own.
    pub(super) fn assignment(&self) -> Option<AssignmentKey> {
        match &self.payload {
            None => Some(AssignmentKey {
                set_no: self.set_no?,
                number: self.assignment_number?,
            }),
            Some(_) => None,
        }
    }
}

/// The results of attempts, in columns.
#[derive(Default)]
pub(super) struct AttemptResults {
    pub delivery_nos: Vec<i64>,
    pub states: Vec<DeliveryState>,
    /// Seconds until the next attempt, if there is one.
    pub delays: Vec<Option<f64>>,
    /// Each an `Attempt` as JSON.
    pub attempts: Vec<Value>,
}

/// Claims the endpoint that has been due for longest. Skips the tenants in `full` and, with `only_healthy`, failing
/// endpoints. Two senders at once never claim the same endpoint: each skips rows that the other has locked. Endpoints of
/// suspended tenants are never claimed.
pub(super) async fn claim(
    connection: &mut PgConnection,
    full: &[TenantId],
    only_healthy: bool,
    seconds: f64,
) -> sqlx::Result<Option<Lease>> {
    sqlx::query_as!(
        Lease,
        r#"update webhooks w
              set lease_until = clock_timestamp() + make_interval(secs => $2),
                  epoch = w.epoch + 1
             from (
               select d.tenant_id, d.webhook_no
                 from webhooks d
                 join tenants t on t.tenant_id = d.tenant_id
                where d.state = 'enabled' and d.next_due_at <= now()
                  and (d.lease_until is null or d.lease_until < now())
                  and d.tenant_id <> all ($1) and t.state = 'active'
                  and not ($3 and d.failing_since is not null)
                order by d.next_due_at
                limit 1
                  for no key update of d skip locked
             ) next
            where w.tenant_id = next.tenant_id and w.webhook_no = next.webhook_no
           returning w.tenant_id as "tenant: TenantId", w.webhook_no, w.epoch,
                     w.failing_since is not null as "is_failing!""#,
        full as &[TenantId],
        seconds,
        only_healthy
    )
    .fetch_optional(connection)
    .await
}

/// Finds the endpoint of a lease; `None` if it was disabled or deleted since it was claimed.
pub(super) async fn find_endpoint(
    connection: &mut PgConnection,
    lease: &Lease,
) -> sqlx::Result<Option<Endpoint>> {
    let found = sqlx::query!(
        "select url, secret, case when previous_secret_until > now() then previous_secret end as previous, max_batch
           from webhooks
          where tenant_id = $1 and webhook_no = $2 and state = 'enabled'",
        lease.tenant as TenantId,
        lease.webhook_no
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| Endpoint::new(found.url, found.secret, found.previous, found.max_batch)))
}

/// Finds the due deliveries of an endpoint: up to `rows` first attempts in their order, and up to `rows` retries by the
/// time at which they are due.
pub(super) async fn find_due(
    connection: &mut PgConnection,
    lease: &Lease,
    rows: i32,
) -> sqlx::Result<Vec<DueDelivery>> {
    sqlx::query_as!(
        DueDelivery,
        r#"select delivery_no as "delivery_no!", id as "id!", event_type as "event_type!", occurred_at as "occurred_at!",
                  attempts as "attempts!", replayed_after as "replayed_after!", set_no, ledger_number,
                  assignment_number, payload
             from due_deliveries($1, $2, $3)"#,
        lease.tenant as TenantId,
        lease.webhook_no,
        rows
    )
    .fetch_all(connection)
    .await
}

/// The outcome of ending a lease.
pub(super) enum LeaseEnd {
    Stored,
    /// The results were stored, and the endpoint was disabled because it has failed for too long.
    GivenUp,
    /// Another sender holds the lease by now, and nothing was stored.
    Lost,
}

/// Stores the results of attempts, sets the time at which the endpoint is due next, and releases the lease. `succeeded`
/// is true if any attempt succeeded, and `None` if there was none. An endpoint that has failed for `give_up_after`
/// seconds is disabled.
pub(super) async fn end_lease(
    connection: &mut PgConnection,
    lease: &Lease,
    results: &AttemptResults,
    succeeded: Option<bool>,
    give_up_after: f64,
) -> sqlx::Result<LeaseEnd> {
    let given_up = sqlx::query_scalar!(
        "select end_webhook_lease($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        lease.tenant as TenantId,
        lease.webhook_no,
        lease.epoch,
        &results.delivery_nos,
        &results.states as &[DeliveryState],
        &results.delays as &[Option<f64>],
        &results.attempts,
        succeeded,
        give_up_after
    )
    .fetch_one(connection)
    .await?;
    Ok(match given_up {
        Some(false) => LeaseEnd::Stored,
        Some(true) => LeaseEnd::GivenUp,
        None => LeaseEnd::Lost,
    })
}

/// A webhook whose ended deliveries may be due for deletion.
pub(super) struct RetentionRow {
    pub tenant: TenantId,
    pub webhook_no: i32,
    /// The webhook itself was deleted, so all of its deliveries are.
    pub deleted: bool,
}

/// All webhooks of all tenants, deleted ones too.
pub(super) async fn list_all(connection: &mut PgConnection) -> sqlx::Result<Vec<RetentionRow>> {
    sqlx::query_as!(
        RetentionRow,
        r#"select tenant_id as "tenant: TenantId", webhook_no, state = 'deleted' as "deleted!"
             from webhooks"#
    )
    .fetch_all(connection)
    .await
}

/// Deletes up to `rows` deliveries that ended more than `days` days ago, or any deliveries of a deleted webhook. A
/// deleted webhook without deliveries is deleted itself. Returns the number of deleted deliveries.
pub(super) async fn clean(
    connection: &mut PgConnection,
    webhook: &RetentionRow,
    days: i32,
    rows: i32,
) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"select clean_webhook($1, $2, $3, $4, $5) as "count!""#,
        webhook.tenant as TenantId,
        webhook.webhook_no,
        webhook.deleted,
        days,
        rows
    )
    .fetch_one(connection)
    .await
}
