//! `/v1/webhooks`.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::deliveries::{self, Delivery, Filter, Spot};
use super::{Change, EVENT_TYPES, IssuedWebhook, NewWebhook, Replayed, TestResult, Webhook, db};
use crate::app::App;
use crate::assignments::is_storable;
use crate::error::Error;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::tenants::auth::{Caller, WebhooksRead, WebhooksWrite};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v1/webhooks", post(create).get(list))
        .route(
            "/v1/webhooks/{webhookId}",
            get(find).patch(patch).delete(delete),
        )
        .route(
            "/v1/webhooks/{webhookId}/rotate-secret",
            post(rotate_secret),
        )
        .route("/v1/webhooks/{webhookId}/test", post(test))
        .route("/v1/webhooks/{webhookId}/deliveries", get(list_deliveries))
        .route(
            "/v1/webhooks/{webhookId}/deliveries/replay",
            post(replay_all),
        )
        .route(
            "/v1/webhooks/{webhookId}/deliveries/{deliveryId}/replay",
            post(replay),
        )
}

async fn create(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Json(new): Json<NewWebhook>,
) -> Result<(StatusCode, Json<IssuedWebhook>), Error> {
    let issued = super::create(&app, caller.tenant, new).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Webhook>>, Error> {
    let paging: Paging<i32> = Paging::new(query.limit, query.cursor.as_deref())?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let rows = db::list(
        &mut transaction,
        caller.tenant,
        paging.key().copied(),
        paging.back(),
        paging.rows(),
    )
    .await?;
    transaction.commit().await?;
    Ok(Json(paging.page(rows, &uri, |webhook| webhook.number)))
}

async fn find(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    Path(id): Path<Uuid>,
) -> Result<Json<Webhook>, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let webhook = super::read(&mut transaction, caller.tenant, id).await?;
    transaction.commit().await?;
    Ok(Json(webhook))
}

async fn patch(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
    Json(change): Json<Change>,
) -> Result<Json<Webhook>, Error> {
    super::patch(&app, caller.tenant, id, change)
        .await
        .map(Json)
}

async fn delete(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    if !db::delete(&mut transaction, caller.tenant, id).await? {
        return Err(super::not_found());
    }
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate_secret(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
) -> Result<Json<IssuedWebhook>, Error> {
    super::rotate_secret(&app, caller.tenant, id)
        .await
        .map(Json)
}

async fn test(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
) -> Result<Json<TestResult>, Error> {
    super::test(&app, caller.tenant, id).await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeliveriesQuery {
    state: Option<deliveries::State>,
    event_type: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list_deliveries(
    State(app): State<App>,
    caller: Caller<WebhooksRead>,
    OriginalUri(uri): OriginalUri,
    Path(id): Path<Uuid>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Page<Delivery>>, Error> {
    let paging: Paging<Spot> = Paging::new(query.limit, query.cursor.as_deref())?;
    if paging
        .key()
        .is_some_and(|spot| !is_storable(spot.occurred_at))
    {
        return Err(Error::malformed("`cursor` was not returned by this list."));
    }
    let filter = filter(
        query.state,
        query.event_type.as_deref(),
        query.from,
        query.to,
    )?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
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
    Ok(Json(paging.page(rows, &uri, Delivery::spot)))
}

/// The period must be said: nobody replays everything by mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReplayQuery {
    state: Option<deliveries::State>,
    event_type: Option<String>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

async fn replay_all(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path(id): Path<Uuid>,
    Query(query): Query<ReplayQuery>,
) -> Result<Json<Replayed>, Error> {
    let filter = filter(
        query.state,
        query.event_type.as_deref(),
        Some(query.from),
        Some(query.to),
    )?;
    super::replay_all(&app, caller.tenant, id, filter)
        .await
        .map(Json)
}

async fn replay(
    State(app): State<App>,
    caller: Caller<WebhooksWrite>,
    Path((webhook, delivery)): Path<(Uuid, Uuid)>,
) -> Result<Json<Delivery>, Error> {
    super::replay(&app, caller.tenant, webhook, delivery)
        .await
        .map(Json)
}

fn filter(
    state: Option<deliveries::State>,
    event_type: Option<&str>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<Filter<'_>, Error> {
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
    Ok(Filter {
        state,
        event_type,
        from,
        to,
    })
}
