//! SQL of the senders: who serves which endpoint, what is to be sent, and what came of it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::client::Endpoint;
use super::deliveries::State;
use crate::ids::{AssignmentKey, TenantId};

/// An endpoint that this sender has claimed for a while. The epoch is its fencing token: it is void as soon as another
/// sender claims the endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub tenant: TenantId,
    pub webhook_no: i32,
    pub epoch: i32,
    /// No success has followed its last failure.
    pub is_failing: bool,
}

/// A delivery that is due.
pub(super) struct Due {
    pub delivery_no: i64,
    pub id: Uuid,
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    pub attempts: i32,
    pub replayed_after: i32,
    pub set_no: Option<i32>,
    pub ledger_number: Option<i64>,
    /// Whose number in the ledger it is, or that of what the entry is about.
    pub assignment_number: Option<i64>,
    pub payload: Option<Value>,
}

impl Due {
    /// The assignment that it tells of, if it has no words of its own.
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

/// What attempts came to, in columns.
#[derive(Default)]
pub(super) struct Results {
    pub delivery_nos: Vec<i64>,
    pub states: Vec<State>,
    /// Seconds until the next attempt, if there is one.
    pub delays: Vec<Option<f64>>,
    /// What happened, as it is told.
    pub attempts: Vec<Value>,
}

/// Claims the endpoint that has been due for longest, of the tenants that are not `full`; with `only_sound` of those that
/// do not fail. Two senders never get the same one: what one has locked the other skips. A suspended tenant is not served.
pub(super) async fn claim(
    pool: &PgPool,
    full: &[TenantId],
    only_sound: bool,
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
        only_sound
    )
    .fetch_optional(pool)
    .await
}

/// Where the messages go; `None` if the endpoint was disabled or deleted since.
pub(super) async fn find_endpoint(
    connection: &mut PgConnection,
    lease: &Lease,
) -> sqlx::Result<Option<Endpoint>> {
    let found = sqlx::query!(
        "select url, secret, case when previous_secret_until > now() then previous_secret end as previous
           from webhooks
          where tenant_id = $1 and webhook_no = $2 and state = 'enabled'",
        lease.tenant as TenantId,
        lease.webhook_no
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| Endpoint::stored(found.url, found.secret, found.previous)))
}

/// What is to be sent to an endpoint: so many new ones in their order, and so many retries by their time.
pub(super) async fn find_due(
    connection: &mut PgConnection,
    lease: &Lease,
    rows: i32,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
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

/// How a turn ended.
pub(super) enum End {
    Noted,
    /// The endpoint has failed for so long that it is told nothing more.
    GivenUp,
    /// The turn is another sender's by now, and nothing was noted.
    Lost,
}

/// Notes what came of attempts, and says when the endpoint is due next. `succeeded` is whether one of them did, if there
/// were any.
pub(super) async fn end(
    pool: &PgPool,
    lease: &Lease,
    results: &Results,
    succeeded: Option<bool>,
    patience: f64,
) -> sqlx::Result<End> {
    let given_up = sqlx::query_scalar!(
        "select end_webhook_lease($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        lease.tenant as TenantId,
        lease.webhook_no,
        lease.epoch,
        &results.delivery_nos,
        &results.states as &[State],
        &results.delays as &[Option<f64>],
        &results.attempts,
        succeeded,
        patience
    )
    .fetch_one(pool)
    .await?;
    Ok(match given_up {
        Some(false) => End::Noted,
        Some(true) => End::GivenUp,
        None => End::Lost,
    })
}

/// A webhook whose deliveries may have been kept for long enough.
pub(super) struct Kept {
    pub tenant: TenantId,
    pub webhook_no: i32,
    /// It was deleted itself, so nothing of it is kept.
    pub deleted: bool,
}

/// All webhooks of all tenants, deleted ones too.
pub(super) async fn list_all(pool: &PgPool) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as!(
        Kept,
        r#"select tenant_id as "tenant: TenantId", webhook_no, state = 'deleted' as "deleted!"
             from webhooks"#
    )
    .fetch_all(pool)
    .await
}

/// Deletes a portion of what ended so many days ago, or of all that a deleted webhook has left, and such a webhook itself
/// when it has left nothing. Answers how many deliveries there were.
pub(super) async fn clean(pool: &PgPool, kept: &Kept, days: i32, rows: i32) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"select clean_webhook($1, $2, $3, $4, $5) as "count!""#,
        kept.tenant as TenantId,
        kept.webhook_no,
        kept.deleted,
        days,
        rows
    )
    .fetch_one(pool)
    .await
}
