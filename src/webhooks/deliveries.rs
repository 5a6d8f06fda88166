//! SQL of deliveries: the list of an endpoint's deliveries, and replays.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::TenantId;
use crate::text_enum::text_enum;

/// An event for one endpoint, with the state of its delivery.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivery {
    /// The id of the event, sent as `webhook-id` in each attempt.
    pub id: Uuid,
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    pub coupon_set_id: Option<Uuid>,
    pub ledger_number: Option<i64>,
    pub state: DeliveryState,
    pub attempt_count: i32,
    /// The latest attempts, at most 20.
    pub attempts: Value,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub number: i64,
}

impl Delivery {
    pub(super) fn cursor(&self) -> DeliveryCursor {
        DeliveryCursor {
            occurred_at: self.occurred_at,
            number: self.number,
        }
    }
}

/// A position in the list: ordered by time, and by delivery number among equal times.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct DeliveryCursor {
    pub occurred_at: DateTime<Utc>,
    pub number: i64,
}

text_enum! {
    /// The state of a delivery. A waiting one has an attempt to come.
    pub(super) enum DeliveryState {
        Waiting = "waiting",
        Delivered = "delivered",
        Failed = "failed",
    }
}

/// Selects deliveries that meet all conditions that are present.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DeliveryFilter<'a> {
    pub state: Option<DeliveryState>,
    pub event_type: Option<&'a str>,
    /// Inclusive.
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub to: Option<DateTime<Utc>>,
}

/// Lists deliveries, newest first; `back` reads the page before `after` in the opposite direction. PostgreSQL never
/// executes the branch that does not apply.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    filter: DeliveryFilter<'_>,
    after: Option<DeliveryCursor>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"select d.id as "id!", d.event_type as "event_type!", d.occurred_at as "occurred_at!", s.id as "coupon_set_id?",
                  d.ledger_number, d.state as "state!: DeliveryState", d.attempts as "attempt_count!", d.attempt_log as "attempts!",
                  d.next_attempt_at, d.ended_at, d.delivery_no as "number!"
             from (
               (select *
                  from webhook_deliveries
                 where not $9 and tenant_id = $1 and webhook_no = $2
                   and ($3::text is null or state = $3)
                   and ($4::text is null or event_type = $4)
                   and occurred_at >= coalesce($5, '-infinity'::timestamptz)
                   and occurred_at < coalesce($6, 'infinity'::timestamptz)
                   and ($7::timestamptz is null or (occurred_at, delivery_no) < ($7, $8::bigint))
                 order by occurred_at desc, delivery_no desc
                 limit $10)
               union all
               (select *
                  from webhook_deliveries
                 where $9 and tenant_id = $1 and webhook_no = $2
                   and ($3::text is null or state = $3)
                   and ($4::text is null or event_type = $4)
                   and occurred_at >= coalesce($5, '-infinity'::timestamptz)
                   and occurred_at < coalesce($6, 'infinity'::timestamptz)
                   and (occurred_at, delivery_no) > ($7, $8::bigint)
                 order by occurred_at, delivery_no
                 limit $10)
             ) d
             left join coupon_sets s on s.tenant_id = $1 and s.set_no = d.set_no
            order by case when $9 then d.occurred_at end, case when $9 then d.delivery_no end,
                     d.occurred_at desc, d.delivery_no desc"#,
        tenant as TenantId,
        webhook_no,
        filter.state as Option<DeliveryState>,
        filter.event_type,
        filter.from,
        filter.to,
        after.map(|cursor| cursor.occurred_at),
        after.map(|cursor| cursor.number),
        back,
        rows
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    id: Uuid,
) -> sqlx::Result<Option<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"select d.id, d.event_type, d.occurred_at, s.id as "coupon_set_id?", d.ledger_number, d.state as "state: DeliveryState",
                  d.attempts as attempt_count, d.attempt_log as attempts, d.next_attempt_at, d.ended_at,
                  d.delivery_no as number
             from webhook_deliveries d
             left join coupon_sets s on s.tenant_id = d.tenant_id and s.set_no = d.set_no
            where d.tenant_id = $1 and d.webhook_no = $2 and d.id = $3"#,
        tenant as TenantId,
        webhook_no,
        id
    )
    .fetch_optional(connection)
    .await
}

/// Makes a delivery due again, with a fresh sequence of retry delays. Returns false if there is no such delivery.
pub(super) async fn replay(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    id: Uuid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update webhook_deliveries
            set state = 'waiting', next_attempt_at = now(), ended_at = null, replayed_after = attempts
          where tenant_id = $1 and webhook_no = $2 and id = $3",
        tenant as TenantId,
        webhook_no,
        id
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Counts the deliveries that match the filter and were attempted, up to `limit`. Those without an attempt are due
/// anyway.
pub(super) async fn count(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    filter: DeliveryFilter<'_>,
    limit: i64,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from (
               select 1
                 from webhook_deliveries
                where tenant_id = $1 and webhook_no = $2 and attempts > 0
                  and ($3::text is null or state = $3)
                  and ($4::text is null or event_type = $4)
                  and occurred_at >= coalesce($5, '-infinity'::timestamptz)
                  and occurred_at < coalesce($6, 'infinity'::timestamptz)
                limit $7
             ) d"#,
        tenant as TenantId,
        webhook_no,
        filter.state as Option<DeliveryState>,
        filter.event_type,
        filter.from,
        filter.to,
        limit
    )
    .fetch_one(connection)
    .await
}

/// Replays all deliveries that match the filter and were attempted. Returns their number.
pub(super) async fn replay_all(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    filter: DeliveryFilter<'_>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update webhook_deliveries
            set state = 'waiting', next_attempt_at = now(), ended_at = null, replayed_after = attempts
          where tenant_id = $1 and webhook_no = $2 and attempts > 0
            and ($3::text is null or state = $3)
            and ($4::text is null or event_type = $4)
            and occurred_at >= coalesce($5, '-infinity'::timestamptz)
            and occurred_at < coalesce($6, 'infinity'::timestamptz)",
        tenant as TenantId,
        webhook_no,
        filter.state as Option<DeliveryState>,
        filter.event_type,
        filter.from,
        filter.to
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Makes the endpoint due now, so that a sender claims it.
pub(super) async fn make_due(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update webhooks
            set next_due_at = least(next_due_at, now())
          where tenant_id = $1 and webhook_no = $2",
        tenant as TenantId,
        webhook_no
    )
    .execute(connection)
    .await?;
    Ok(())
}
