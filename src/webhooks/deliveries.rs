//! What was and is to be sent to an endpoint: the list, and sending it again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::TenantId;
use crate::text_enum::text_enum;

/// An event on its way to an endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivery {
    /// That of the event, and the `webhook-id` of each attempt.
    pub id: Uuid,
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    pub coupon_set_id: Option<Uuid>,
    pub ledger_number: Option<i64>,
    pub state: State,
    pub attempt_count: i32,
    /// The last of them.
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

/// Where a delivery stands in the list: by time, and within a moment in the order of sending.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct DeliveryCursor {
    pub occurred_at: DateTime<Utc>,
    pub number: i64,
}

text_enum! {
    /// Whether a delivery is to be attempted again, or how it ended.
    pub(super) enum State {
        Waiting = "waiting",
        Delivered = "delivered",
        Failed = "failed",
    }
}

/// Which deliveries; all that is given must hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter<'a> {
    pub state: Option<State>,
    pub event_type: Option<&'a str>,
    /// From this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Before this moment.
    pub to: Option<DateTime<Utc>>,
}

/// Newest first; `back` reads the page before `after` in the other direction. The branches that do not apply are never
/// executed.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    filter: Filter<'_>,
    after: Option<DeliveryCursor>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"select d.id as "id!", d.event_type as "event_type!", d.occurred_at as "occurred_at!", s.id as "coupon_set_id?",
                  d.ledger_number, d.state as "state!: State", d.attempts as "attempt_count!", d.attempt_log as "attempts!",
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
        filter.state as Option<State>,
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
        r#"select d.id, d.event_type, d.occurred_at, s.id as "coupon_set_id?", d.ledger_number, d.state as "state: State",
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

/// Lets a delivery be attempted again, and the gaps between attempts begin anew. False if there is no such delivery.
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

/// How many were attempted of those that the filter leaves, counted up to a limit. Others are on their way anyway.
pub(super) async fn count(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    filter: Filter<'_>,
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
        filter.state as Option<State>,
        filter.event_type,
        filter.from,
        filter.to,
        limit
    )
    .fetch_one(connection)
    .await
}

/// The same as `replay` for all that the filter leaves.
pub(super) async fn replay_all(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    filter: Filter<'_>,
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
        filter.state as Option<State>,
        filter.event_type,
        filter.from,
        filter.to
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Has the endpoint's sender look at once.
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
