//! `/v1/webhooks`.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::deliveries::{self, Delivery, DeliveryCursor, DeliveryFilter};
use super::{
    EVENT_TYPES, IssuedWebhook, NewWebhook, ReplayResult, TestResult, Webhook, WebhookPatch,
    Webhooks, db,
};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query};
use crate::http::page::{Page, Paging};
use crate::http::routes::Routes;
use crate::http::trace_parent::Trace;
use crate::tenants::auth::{Caller, WebhooksRead, WebhooksWrite};
use crate::time_zone::is_storable;

pub(super) fn routes() -> Routes<Webhooks> {
    Routes::new()
        .post("/v1/webhooks", create)
        .get("/v1/webhooks", list)
        .get("/v1/webhooks/{webhookId}", find)
        .patch("/v1/webhooks/{webhookId}", patch)
        .delete("/v1/webhooks/{webhookId}", delete)
        .post("/v1/webhooks/{webhookId}/rotate-secret", rotate_secret)
        .post("/v1/webhooks/{webhookId}/test", test)
        .get("/v1/webhooks/{webhookId}/deliveries", list_deliveries)
        .post("/v1/webhooks/{webhookId}/deliveries/replay", replay_all)
        .post(
            "/v1/webhooks/{webhookId}/deliveries/{deliveryId}/replay",
            replay,
        )
}

async fn create(
    State(webhooks): State<Webhooks>,
    caller: Caller<WebhooksWrite>,
    Json(new): Json<NewWebhook>,
) -> Result<(StatusCode, Json<IssuedWebhook>), Error> {
    let issued = super::create(&webhooks, caller.tenant, new).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(database): State<Database>,
    caller: Caller<WebhooksRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Webhook>>, Error> {
    let paging: Paging<i32> = Paging::new(query.limit, query.cursor.as_deref())?;
    let (after, back, rows) = (paging.key().copied(), paging.back(), paging.rows());
    let rows = database
        .with_tenant(caller.tenant, async |connection| {
            db::list(connection, caller.tenant, after, back, rows).await
        })
        .await?;
    Ok(Json(paging.page(rows, &uri, |webhook| webhook.number)))
}

async fn find(
    State(database): State<Database>,
    caller: Caller<WebhooksRead>,
    Path(id): Path<Uuid>,
) -> Result<Json<Webhook>, Error> {
    let webhook = database
        .with_tenant(caller.tenant, async |connection| {
            super::read(connection, caller.tenant, id).await
        })
        .await?;
    Ok(Json(webhook))
}

async fn patch(
    State(webhooks): State<Webhooks>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
    Json(patch): Json<WebhookPatch>,
) -> Result<Json<Webhook>, Error> {
    super::patch(&webhooks, caller.tenant, id, patch)
        .await
        .map(Json)
}

async fn delete(
    State(database): State<Database>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    let existed = database
        .with_tenant(caller.tenant, async |connection| {
            db::delete(connection, caller.tenant, id).await
        })
        .await?;
    if existed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(super::not_found())
    }
}

async fn rotate_secret(
    State(webhooks): State<Webhooks>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
) -> Result<Json<IssuedWebhook>, Error> {
    super::rotate_secret(&webhooks, caller.tenant, id)
        .await
        .map(Json)
}

async fn test(
    State(webhooks): State<Webhooks>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
    trace: Trace,
) -> Result<Json<TestResult>, Error> {
    super::test(&webhooks, caller.tenant, id, trace)
        .await
        .map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeliveriesQuery {
    state: Option<deliveries::DeliveryState>,
    event_type: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list_deliveries(
    State(database): State<Database>,
    caller: Caller<WebhooksRead>,
    OriginalUri(uri): OriginalUri,
    Path(id): Path<Uuid>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Page<Delivery>>, Error> {
    let paging: Paging<DeliveryCursor> = Paging::new(query.limit, query.cursor.as_deref())?;
    if paging
        .key()
        .is_some_and(|cursor| !is_storable(cursor.occurred_at))
    {
        return Err(Error::malformed("`cursor` was not returned by this list."));
    }
    let filter = filter(
        query.state,
        query.event_type.as_deref(),
        query.from,
        query.to,
    )?;
    let mut transaction = database.tenant(caller.tenant).await?;
    let webhook = super::read(&mut transaction, caller.tenant, id).await?;
    let rows = deliveries::list(
        &mut transaction,
        caller.tenant,
        webhook.number,
        filter,
        paging.key().copied(),
        paging.back(),
        paging.rows(),
    )
    .await?;
    transaction.commit().await?;
    Ok(Json(paging.page(rows, &uri, Delivery::cursor)))
}

/// Requires a period, so that a caller does not replay everything by mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReplayQuery {
    state: Option<deliveries::DeliveryState>,
    event_type: Option<String>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

async fn replay_all(
    State(webhooks): State<Webhooks>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
    Query(query): Query<ReplayQuery>,
) -> Result<Json<ReplayResult>, Error> {
    let filter = filter(
        query.state,
        query.event_type.as_deref(),
        Some(query.from),
        Some(query.to),
    )?;
    super::replay_all(&webhooks, caller.tenant, id, filter)
        .await
        .map(Json)
}

async fn replay(
    State(webhooks): State<Webhooks>,
    caller: Caller<WebhooksWrite>,
    Path((webhook, delivery)): Path<(Uuid, Uuid)>,
) -> Result<Json<Delivery>, Error> {
    super::replay(&webhooks, caller.tenant, webhook, delivery)
        .await
        .map(Json)
}

fn filter(
    state: Option<deliveries::DeliveryState>,
    event_type: Option<&str>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<DeliveryFilter<'_>, Error> {
    if event_type.is_some_and(|kind| !EVENT_TYPES.contains(&kind)) {
        return Err(Error::malformed(format!(
            "`eventType` must be one of: {}.",
            EVENT_TYPES.join(", ")
        )));
    }
    for (name, time) in [("from", from), ("to", to)] {
        if time.is_some_and(|time| !is_storable(time)) {
            return Err(Error::malformed(format!(
                "`{name}` must be in the years 1 to 9999."
            )));
        }
    }
    Ok(DeliveryFilter {
        state,
        event_type,
        from,
        to,
    })
}
