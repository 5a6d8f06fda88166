//! `…/contacts`.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Activity, ContactPage, Erasure, ErasureState, Merge, NewMerge, db};
use crate::app::App;
use crate::assignments::{self, Assignment, Span, Spot};
use crate::error::Error;
use crate::extract::{Json, Path, Query, check_text};
use crate::page::Paging;
use crate::tenants::TenantId;
use crate::tenants::auth::{Caller, ContactsRead, ContactsWrite};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v1/contacts/{contactId}", delete(erase))
        .route("/v1/contacts/{contactId}/activity", get(list_activity))
        .route("/v1/contacts/{contactId}/coupons", get(list_coupons))
        .route("/v1/contacts/{contactId}/merge", post(merge))
}

/// Axum has decoded it: what is between the slashes may be any text.
fn check(contact: &str) -> Result<(), Error> {
    check_text(contact, 255).map_err(|detail| {
        Error::malformed(format!("The contact id in the path is not valid: {detail}"))
    })
}

/// There is one type now; a caller who names it keeps what it gets when there are more.
#[derive(Debug, Deserialize)]
enum ActivityType {
    #[serde(rename = "coupon-assigned")]
    CouponAssigned,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivityQuery {
    #[expect(dead_code, reason = "the one type is all there is")]
    r#type: Option<ActivityType>,
    /// From this moment on.
    from: Option<DateTime<Utc>>,
    /// Before this moment.
    to: Option<DateTime<Utc>>,
    limit: Option<u16>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CouponsQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list_activity(
    State(app): State<App>,
    caller: Caller<ContactsRead>,
    Path(contact): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ActivityQuery>,
) -> Result<Json<ContactPage<Activity>>, Error> {
    check(&contact)?;
    let span = Span {
        from: query.from,
        to: query.to,
    };
    let paging = span.paging(query.limit, query.cursor.as_deref())?;
    let found = find(&app, caller.tenant, &contact, span, false, &paging).await?;
    let page = paging.page(found.rows, &uri, |(spot, _)| *spot);
    Ok(Json(ContactPage {
        contact_id: contact,
        merged_into: found.merged_into,
        page: page.map(|(_, assignment)| Activity::assigned(assignment)),
    }))
}

async fn list_coupons(
    State(app): State<App>,
    caller: Caller<ContactsRead>,
    Path(contact): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<CouponsQuery>,
) -> Result<Json<ContactPage<Assignment>>, Error> {
    check(&contact)?;
    let span = Span::default();
    let paging = span.paging(query.limit, query.cursor.as_deref())?;
    let found = find(&app, caller.tenant, &contact, span, true, &paging).await?;
    let page = paging.page(found.rows, &uri, |(spot, _)| *spot);
    Ok(Json(ContactPage {
        contact_id: contact,
        merged_into: found.merged_into,
        page: page.map(|(_, assignment)| assignment),
    }))
}

/// What a contact was given, and where the contact went.
struct Found {
    rows: Vec<(Spot, Assignment)>,
    merged_into: Option<String>,
}

async fn find(
    app: &App,
    tenant: TenantId,
    contact: &str,
    span: Span,
    usable: bool,
    paging: &Paging<Spot>,
) -> Result<Found, Error> {
    let mut transaction = app.database.tenant(tenant).await?;
    let merged_into = db::find_root(&mut transaction, tenant, contact).await?;
    let rows =
        assignments::list_of_contact(&mut transaction, tenant, contact, span, usable, paging)
            .await?;
    transaction.commit().await?;
    Ok(Found { rows, merged_into })
}

async fn merge(
    State(app): State<App>,
    caller: Caller<ContactsWrite>,
    Path(contact): Path<String>,
    Json(new): Json<NewMerge>,
) -> Result<Json<Merge>, Error> {
    check(&contact)?;
    if new.into.0 == contact {
        return Err(Error::invalid(
            "/into",
            "A contact cannot be merged into itself.",
        ));
    }
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let merge = db::merge(&mut transaction, caller.tenant, contact, &new.into.0).await?;
    transaction.commit().await?;
    Ok(Json(merge))
}

impl IntoResponse for Erasure {
    fn into_response(self) -> Response {
        let status = match self.state {
            ErasureState::Erasing => StatusCode::ACCEPTED,
            ErasureState::Erased => StatusCode::OK,
        };
        (status, Json(self)).into_response()
    }
}

async fn erase(
    State(app): State<App>,
    caller: Caller<ContactsWrite>,
    Path(contact): Path<String>,
) -> Result<Erasure, Error> {
    check(&contact)?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let erasure = db::erase(&mut transaction, caller.tenant, &contact).await?;
    transaction.commit().await?;
    Ok(erasure)
}
