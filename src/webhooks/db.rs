//! SQL of webhooks.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::client::Endpoint;
use super::secret::Secret;
use super::{NewState, Webhook, WebhookPatch, WebhookState};
use crate::ids::TenantId;

pub(super) async fn count(connection: &mut PgConnection, tenant: TenantId) -> sqlx::Result<usize> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from webhooks
            where tenant_id = $1 and state <> 'deleted'"#,
        tenant as TenantId
    )
    .fetch_one(connection)
    .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

pub(super) async fn create(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
    patch: &WebhookPatch,
    secret: &Secret,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into webhooks (tenant_id, webhook_no, id, url, event_types, description, secret, max_batch)
         select $1, coalesce(max(webhook_no), 0) + 1, $2, $3, $4, $5, $6, coalesce($7, 1)
           from webhooks
          where tenant_id = $1",
        tenant as TenantId,
        id,
        patch.url,
        patch.event_types.as_deref(),
        patch.description.as_ref().and_then(Option::as_deref),
        secret.bytes(),
        patch.max_batch
    )
    .execute(connection)
    .await?;
    Ok(())
}

struct Row {
    webhook_no: i32,
    id: Uuid,
    url: String,
    event_types: Vec<String>,
    description: Option<String>,
    max_batch: i32,
    state: WebhookState,
    failing_since: Option<DateTime<Utc>>,
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Webhook {
    fn from(row: Row) -> Self {
        Self {
            number: row.webhook_no,
            id: row.id,
            url: row.url,
            event_types: row.event_types,
            description: row.description,
            max_batch: row.max_batch,
            state: row.state,
            failing_since: row.failing_since,
            previous_secret_until: row.previous_secret_until,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<Webhook>> {
    let row = sqlx::query_as!(
        Row,
        r#"select webhook_no, id, url, event_types, description, max_batch, state as "state: WebhookState", failing_since,
                  case when previous_secret_until > now() then previous_secret_until end as previous_secret_until,
                  created_at, updated_at
             from webhooks
            where tenant_id = $1 and id = $2 and state <> 'deleted'"#,
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Webhook::from))
}

/// Oldest first.
pub(super) async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<i32>,
    back: bool,
    rows: i64,
) -> sqlx::Result<Vec<Webhook>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select webhook_no, id, url, event_types, description, max_batch, state as "state: WebhookState", failing_since,
                  case when previous_secret_until > now() then previous_secret_until end as previous_secret_until,
                  created_at, updated_at
             from webhooks
            where tenant_id = $1 and state <> 'deleted'
              and ($2::integer is null or case when $3 then webhook_no < $2 else webhook_no > $2 end)
            order by case when $3 then -webhook_no else webhook_no end
            limit $4"#,
        tenant as TenantId,
        after,
        back,
        rows
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Webhook::from).collect())
}

/// Finds the webhooks with a URL, which need not be unique. Returns at most two.
pub(super) async fn find_by_url(
    connection: &mut PgConnection,
    tenant: TenantId,
    url: &str,
) -> sqlx::Result<Vec<Webhook>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select webhook_no, id, url, event_types, description, max_batch, state as "state: WebhookState", failing_since,
                  case when previous_secret_until > now() then previous_secret_until end as previous_secret_until,
                  created_at, updated_at
             from webhooks
            where tenant_id = $1 and url = $2 and state <> 'deleted'
            order by webhook_no
            limit 2"#,
        tenant as TenantId,
        url
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Webhook::from).collect())
}

/// Finds the number of a webhook and locks its row. Until this transaction ends, a sender cannot store its results.
pub(super) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "select webhook_no
           from webhooks
          where tenant_id = $1 and id = $2 and state <> 'deleted'
            for no key update",
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await
}

/// Updates the fields that are present. A webhook that is being enabled becomes due at once and counts as not failing.
pub(super) async fn patch(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook_no: i32,
    patch: &WebhookPatch,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update webhooks
            set url = coalesce($3, url),
                event_types = coalesce($4, event_types),
                description = case when $5 then $6 else description end,
                max_batch = coalesce($8, max_batch),
                state = coalesce($7, state),
                failing_since = case when $7 = 'enabled' and state <> 'enabled' then null else failing_since end,
                next_due_at = case when $7 = 'enabled' and state <> 'enabled' then now() else next_due_at end,
                updated_at = now()
          where tenant_id = $1 and webhook_no = $2",
        tenant as TenantId,
        webhook_no,
        patch.url,
        patch.event_types.as_deref(),
        patch.description.is_some(),
        patch.description.as_ref().and_then(Option::as_deref),
        patch.state as Option<NewState>,
        patch.max_batch
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks a webhook as deleted. The cleaner deletes its deliveries later.
pub(super) async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update webhooks
            set state = 'deleted', updated_at = now()
          where tenant_id = $1 and id = $2 and state <> 'deleted'",
        tenant as TenantId,
        id
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Replaces the secret. The previous one also signs for `hours` more hours.
pub(super) async fn rotate(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
    secret: &Secret,
    hours: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update webhooks
            set previous_secret = secret,
                previous_secret_until = now() + make_interval(hours => $4),
                secret = $3,
                updated_at = now()
          where tenant_id = $1 and id = $2 and state <> 'deleted'",
        tenant as TenantId,
        id,
        secret.bytes(),
        hours
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Finds the endpoint of a webhook that is enabled, disabled or failed.
pub(super) async fn find_endpoint(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<Endpoint>> {
    let found = sqlx::query!(
        "select url, secret, case when previous_secret_until > now() then previous_secret end as previous, max_batch
           from webhooks
          where tenant_id = $1 and id = $2 and state <> 'deleted'",
        tenant as TenantId,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| Endpoint::new(found.url, found.secret, found.previous, found.max_batch)))
}
