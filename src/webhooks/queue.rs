//! SQL of the senders: who serves which endpoint, what is to be sent, and what came of it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::courier::Endpoint;
use crate::assignments::id::Place;
use crate::tenants::TenantId;

/// An endpoint that this sender has claimed for a turn. The epoch is its ticket: it is void as soon as another sender
/// claims the endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub tenant: TenantId,
    pub webhook_no: i32,
    pub epoch: i32,
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
    pub(super) fn assignment(&self) -> Option<Place> {
        match &self.payload {
            None => Some(Place {
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
    pub states: Vec<&'static str>,
    /// Seconds until the next attempt, if there is one.
    pub delays: Vec<Option<f64>>,
    /// What happened, as it is told.
    pub attempts: Vec<Value>,
}

/// Claims the endpoint that has been due for longest, of the tenants that are not `full`. Two senders never get the same
/// one: what one has locked the other skips. A suspended tenant is not served.
pub(super) async fn claim(
    pool: &PgPool,
    full: &[TenantId],
    lease: f64,
) -> sqlx::Result<Option<Turn>> {
    sqlx::query_as!(
        Turn,
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
                order by d.next_due_at
                limit 1
                  for no key update of d skip locked
             ) next
            where w.tenant_id = next.tenant_id and w.webhook_no = next.webhook_no
           returning w.tenant_id as "tenant: TenantId", w.webhook_no, w.epoch"#,
        full as &[TenantId],
        lease
    )
    .fetch_optional(pool)
    .await
}

/// Where the messages go; `None` if the endpoint was disabled or deleted since.
pub(super) async fn find_endpoint(
    connection: &mut PgConnection,
    turn: &Turn,
) -> sqlx::Result<Option<Endpoint>> {
    let found = sqlx::query!(
        "select url, secret, case when previous_secret_until > now() then previous_secret end as previous
           from webhooks
          where tenant_id = $1 and webhook_no = $2 and state = 'enabled'",
        turn.tenant as TenantId,
        turn.webhook_no
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| Endpoint::stored(found.url, found.secret, found.previous)))
}

/// What is to be sent to an endpoint: so many new ones in their order, and so many retries by their time.
pub(super) async fn find_due(
    connection: &mut PgConnection,
    turn: &Turn,
    rows: i64,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        r#"select d.delivery_no as "delivery_no!", d.id as "id!", d.event_type as "event_type!",
                  d.occurred_at as "occurred_at!", d.attempts as "attempts!", d.replayed_after as "replayed_after!",
                  d.set_no, d.ledger_number, coalesce(e.assignment_number, d.ledger_number) as assignment_number,
                  d.payload
             from (
               (select *
                  from webhook_deliveries
                 where tenant_id = $1 and webhook_no = $2 and state = 'waiting' and attempts = 0
                 order by delivery_no
                 limit $3)
               union all
               (select *
                  from webhook_deliveries
                 where tenant_id = $1 and webhook_no = $2 and state = 'waiting' and attempts > 0
                   and next_attempt_at <= now()
                 order by next_attempt_at, delivery_no
                 limit $3)
             ) d
             left join lateral (
               select e.assignment_number
                 from ledger_entries e
                where d.payload is null
                  and e.tenant_id = $1 and e.set_no = d.set_no and e.number between d.ledger_number and d.ledger_number
                order by e.number
                limit 1
             ) e on true
            order by case when d.attempts > 0 then d.next_attempt_at end nulls first, d.delivery_no"#,
        turn.tenant as TenantId,
        turn.webhook_no,
        rows
    )
    .fetch_all(connection)
    .await
}

/// Keeps everybody else from the endpoint's row to the end of the transaction; false if the turn is another sender's by
/// now. Who writes deliveries locks the row too, so from here on everything that waits is seen.
pub(super) async fn lock(connection: &mut PgConnection, turn: &Turn) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!(
        "select webhook_no
           from webhooks
          where tenant_id = $1 and webhook_no = $2 and epoch = $3
            for no key update",
        turn.tenant as TenantId,
        turn.webhook_no,
        turn.epoch
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

/// Notes what came of attempts, and keeps the last 20 of each delivery.
pub(super) async fn note(
    connection: &mut PgConnection,
    turn: &Turn,
    results: &Results,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update webhook_deliveries d
            set attempts = d.attempts + 1,
                state = r.state,
                next_attempt_at = clock_timestamp() + make_interval(secs => r.delay),
                ended_at = case when r.delay is null then clock_timestamp() end,
                attempt_log =
                  case when jsonb_array_length(d.attempt_log) < 20 then d.attempt_log else d.attempt_log - 0 end
                    || r.attempt
           from unnest($3::bigint[], $4::text[], $5::double precision[], $6::jsonb[])
                  as r (delivery_no, state, delay, attempt)
          where d.tenant_id = $1 and d.webhook_no = $2 and d.delivery_no = r.delivery_no",
        turn.tenant as TenantId,
        turn.webhook_no,
        &results.delivery_nos,
        &results.states as &[&str],
        &results.delays as &[Option<f64>],
        &results.attempts
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the turn: says when something is due next, and since when the endpoint fails. `succeeded` is whether an attempt
/// did, if there were any. Answers true if it has failed for so long that it is told nothing more.
pub(super) async fn end(
    connection: &mut PgConnection,
    turn: &Turn,
    succeeded: Option<bool>,
    patience: f64,
) -> sqlx::Result<bool> {
    let ended = sqlx::query!(
        r#"update webhooks w
              set lease_until = null,
                  next_due_at = (
                    select min(due.at)
                      from (
                        (select now() as at
                           from webhook_deliveries
                          where tenant_id = $1 and webhook_no = $2 and state = 'waiting' and attempts = 0
                          limit 1)
                        union all
                        (select next_attempt_at
                           from webhook_deliveries
                          where tenant_id = $1 and webhook_no = $2 and state = 'waiting' and attempts > 0
                          order by next_attempt_at
                          limit 1)
                      ) due),
                  failing_since = case $3::boolean
                    when true then null
                    when false then coalesce(w.failing_since, now())
                    else w.failing_since
                  end,
                  state = case when given_up.yes then 'failed' else w.state end,
                  updated_at = case when given_up.yes then now() else w.updated_at end
             from (
               select state = 'enabled' and not $3 and failing_since < now() - make_interval(secs => $4) as yes
                 from webhooks
                where tenant_id = $1 and webhook_no = $2
             ) given_up
            where w.tenant_id = $1 and w.webhook_no = $2
           returning coalesce(given_up.yes, false) as "given_up!""#,
        turn.tenant as TenantId,
        turn.webhook_no,
        succeeded,
        patience
    )
    .fetch_one(connection)
    .await?;
    Ok(ended.given_up)
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

/// Deletes a portion of what ended so many days ago, or of all that a deleted webhook has left. Answers how many there
/// were.
pub(super) async fn delete_old(
    connection: &mut PgConnection,
    kept: &Kept,
    days: i32,
    rows: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "delete from webhook_deliveries d
          using (
            select o.delivery_no
              from webhook_deliveries o
             where o.tenant_id = $1 and o.webhook_no = $2
               and (
                 $3
                 or o.occurred_at < now() - make_interval(days => $4) and o.ended_at < now() - make_interval(days => $4))
             order by o.occurred_at, o.delivery_no
             limit $5
               for update skip locked
          ) old
          where d.tenant_id = $1 and d.webhook_no = $2 and d.delivery_no = old.delivery_no",
        kept.tenant as TenantId,
        kept.webhook_no,
        kept.deleted,
        days,
        rows
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes the row of a webhook that was deleted so long ago that nothing can be under way to it.
pub(super) async fn delete_gone(connection: &mut PgConnection, kept: &Kept) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from webhooks
          where tenant_id = $1 and webhook_no = $2 and state = 'deleted' and updated_at < now() - interval '1 hour'",
        kept.tenant as TenantId,
        kept.webhook_no
    )
    .execute(connection)
    .await?;
    Ok(())
}
