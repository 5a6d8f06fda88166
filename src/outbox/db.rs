//! SQL of the outbox.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Alert;
use crate::ids::{SetKey, TenantId};

/// Removes the sets of tenants without an enabled endpoint.
pub(super) async fn with_subscribers(
    connection: &mut PgConnection,
    mut sets: HashSet<SetKey>,
) -> sqlx::Result<HashSet<SetKey>> {
    let subscribed: HashSet<TenantId> = subscribed_tenants(connection).await?.into_iter().collect();
    sets.retain(|set| subscribed.contains(&set.tenant));
    Ok(sets)
}

/// Lists the tenants with an enabled endpoint.
pub(super) async fn subscribed_tenants(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<TenantId>> {
    sqlx::query_scalar!(
        r#"select distinct tenant_id as "tenant: TenantId"
             from webhooks
            where state = 'enabled'"#
    )
    .fetch_all(connection)
    .await
}

/// Lists the sets with events beside their ledgers, of tenants with an enabled endpoint.
pub(super) async fn sets_with_events(connection: &mut PgConnection) -> sqlx::Result<Vec<SetKey>> {
    sqlx::query_as!(
        SetKey,
        r#"select distinct e.tenant_id as "tenant: TenantId", e.set_no
             from webhook_events e
            where exists (
              select 1
                from webhooks w
               where w.tenant_id = e.tenant_id and w.state = 'enabled')"#
    )
    .fetch_all(connection)
    .await
}

/// A set to publish.
pub(super) struct LaggingSet {
    pub set_no: i32,
    /// The ledger numbers that were not published.
    pub lag: i64,
}

/// Lists the sets of a tenant whose ledgers were not published to their ends, or whose alert level may have changed since
/// it was last evaluated. A change of a set is found if its transaction takes less than a minute to commit.
pub(super) async fn lagging_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<Vec<LaggingSet>> {
    sqlx::query_as!(
        LaggingSet,
        r#"select s.set_no as "set_no!", greatest(coalesce(t.number, 0) - coalesce(c.number, 0), 0) as "lag!"
             from coupon_sets s
             left join webhook_cursors c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
            cross join lateral (
              select greatest(
                       (select a.number
                          from assignments a
                         where a.tenant_id = s.tenant_id and a.set_no = s.set_no
                         order by a.number desc
                         limit 1),
                       (select e.number
                          from ledger_entries e
                         where e.tenant_id = s.tenant_id and e.set_no = s.set_no
                         order by e.number desc
                         limit 1)) as number
            ) t
            where s.tenant_id = $1
              and (c.threshold is distinct from s.low_stock_threshold and c.set_no is not null
                   or s.updated_at > c.evaluated_at - interval '1 minute'
                   or exists (
                        select 1
                          from lots l
                         where l.tenant_id = s.tenant_id and l.set_no = s.set_no
                           and l.first_expires_at <= now() and l.last_expires_at > c.evaluated_at - interval '1 minute')
                   or t.number > coalesce(c.number, 0))"#,
        tenant as TenantId
    )
    .fetch_all(connection)
    .await
}

/// The result of publishing a batch of a set's ledger.
pub(super) struct OutboxBatch {
    pub more: bool,
    /// The endpoints that got deliveries.
    pub webhook_nos: Vec<i32>,
    alert_level: Option<i16>,
    number: Option<i64>,
    set_id: Option<Uuid>,
    available: Option<i64>,
    threshold: Option<i32>,
}

impl OutboxBatch {
    /// The alert to publish, if the stock has reached another alert level.
    pub(super) fn alert(&self) -> Option<Alert> {
        Some(Alert {
            step: match self.alert_level? {
                1 => Some("threshold"),
                2 => Some("half"),
                3 => Some("quarter"),
                4 => Some("eighth"),
                _ => None,
            },
            number: self.number?,
            coupon_set_id: self.set_id?,
            available: self.available?,
            threshold: self.threshold,
            forecast: None,
        })
    }
}

/// Publishes up to `rows` ledger numbers of a set as deliveries. Two replicas at once never publish the same set: one
/// skips it.
pub(super) async fn publish_ledger(
    connection: &mut PgConnection,
    set: SetKey,
    rows: i32,
) -> sqlx::Result<OutboxBatch> {
    sqlx::query_as!(
        OutboxBatch,
        r#"select more as "more!", webhook_nos as "webhook_nos!", alert_level, number, set_id, available, threshold
             from publish_ledger($1, $2, $3)"#,
        set.tenant as TenantId,
        set.set_no,
        rows
    )
    .fetch_one(connection)
    .await
}

/// Writes the deliveries of an alert to the endpoints that subscribe to its type. Returns their numbers.
pub(super) async fn publish_alert(
    connection: &mut PgConnection,
    set: SetKey,
    alert: &Alert,
) -> sqlx::Result<Vec<i32>> {
    let payload = serde_json::to_value(alert).expect("an alert is plain data");
    sqlx::query_scalar!(
        "insert into webhook_deliveries (
           tenant_id, webhook_no, id, event_type, set_no, ledger_number, occurred_at, next_attempt_at, payload)
         select w.tenant_id, w.webhook_no, $3, $4, $2, $5, clock_timestamp(), now(), $6
           from webhooks w
          where w.tenant_id = $1 and w.state = 'enabled' and $4 = any (w.event_types)
         returning webhook_no",
        set.tenant as TenantId,
        set.set_no,
        Uuid::now_v7(),
        alert.event_type(),
        alert.number,
        payload
    )
    .fetch_all(connection)
    .await
}

/// Makes the endpoints due. It must be the last statement of its transaction, since it locks rows that senders wait for.
pub(super) async fn mark_due(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_nos: &[i32],
) -> sqlx::Result<()> {
    sqlx::query!(
        "select mark_webhooks_due($1, $2)",
        tenant as TenantId,
        webhook_nos
    )
    .execute(connection)
    .await?;
    Ok(())
}
