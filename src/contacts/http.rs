//! `…/contacts`.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Activity, ContactPage, Contacts, Erasure, ErasureState, Merge, NewMerge, db};
use crate::assignments::{self, Assignment, AssignmentCursor, TimeRange};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Path, Query, check_text};
use crate::http::page::Paging;
use crate::http::routes::Routes;
use crate::ids::TenantId;
use crate::tenants::auth::{Caller, ContactsRead, ContactsWrite};

pub(super) fn routes() -> Routes<Contacts> {
    Routes::new()
        .delete("/v1/contacts/{contactId}", erase)
        .get("/v1/contacts/{contactId}/activity", list_activity)
        .get("/v1/contacts/{contactId}/coupons", list_coupons)
        .post("/v1/contacts/{contactId}/merge", merge)
}

/// Checks a decoded path segment, which may be any text.
fn check(contact: &str) -> Result<(), Error> {
    check_text(contact, 255).map_err(|detail| {
        Error::malformed(format!("The contact id in the path is not valid: {detail}"))
    })
}

/// There is one type so far. A caller that names it gets the same activities after more are added.
#[derive(Debug, Deserialize)]
enum ActivityType {
    #[serde(rename = "coupon-assigned")]
    CouponAssigned,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivityQuery {
    #[expect(dead_code, reason = "the only type selects every activity")]
    r#type: Option<ActivityType>,
    /// Start of the period, inclusive.
    from: Option<DateTime<Utc>>,
    /// End of the period, exclusive.
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
    State(database): State<Database>,
    caller: Caller<ContactsRead>,
    Path(contact): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ActivityQuery>,
) -> Result<Json<ContactPage<Activity>>, Error> {
    check(&contact)?;
    let range = TimeRange {
        from: query.from,
        to: query.to,
    };
    let paging = range.paging(query.limit, query.cursor.as_deref())?;
    let found = find(&database, caller.tenant, &contact, range, false, &paging).await?;
    let page = paging.page(found.rows, &uri, |(cursor, _)| *cursor);
    Ok(Json(ContactPage {
        contact_id: contact,
        merged_into: found.merged_into,
        page: page.map(|(_, assignment)| Activity::assigned(assignment)),
    }))
}

async fn list_coupons(
    State(database): State<Database>,
    caller: Caller<ContactsRead>,
    Path(contact): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<CouponsQuery>,
) -> Result<Json<ContactPage<Assignment>>, Error> {
    check(&contact)?;
    let range = TimeRange::default();
    let paging = range.paging(query.limit, query.cursor.as_deref())?;
    let found = find(&database, caller.tenant, &contact, range, true, &paging).await?;
    let page = paging.page(found.rows, &uri, |(cursor, _)| *cursor);
    Ok(Json(ContactPage {
        contact_id: contact,
        merged_into: found.merged_into,
        page: page.map(|(_, assignment)| assignment),
    }))
}

/// Assignments of a contact, and the contact that it was merged into.
struct ContactAssignments {
    rows: Vec<(AssignmentCursor, Assignment)>,
    merged_into: Option<String>,
}

async fn find(
    database: &Database,
    tenant: TenantId,
    contact: &str,
    range: TimeRange,
    usable: bool,
    paging: &Paging<AssignmentCursor>,
) -> Result<ContactAssignments, Error> {
    let mut transaction = database.tenant(tenant).await?;
    let merged_into = db::find_root(&mut transaction, tenant, contact).await?;
    let rows =
        assignments::list_of_contact(&mut transaction, tenant, contact, range, usable, paging)
            .await?;
    transaction.commit().await?;
    Ok(ContactAssignments { rows, merged_into })
}

async fn merge(
    State(database): State<Database>,
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
    let merge = database
        .with_tenant(caller.tenant, async |connection| {
            db::merge(connection, caller.tenant, contact, &new.into.0).await
        })
        .await?;
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
    State(database): State<Database>,
    caller: Caller<ContactsWrite>,
    Path(contact): Path<String>,
) -> Result<Erasure, Error> {
    check(&contact)?;
    let erasure = database
        .with_tenant(caller.tenant, async |connection| {
            db::erase(connection, caller.tenant, &contact).await
        })
        .await?;
    Ok(erasure)
}
