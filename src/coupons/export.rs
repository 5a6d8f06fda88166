//! The coupons of a set as CSV, streamed portion by portion, so that any number of them takes constant memory.
//!
//! Each portion is read by itself: it shows its moment, and nothing waits for a slow reader.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{TryStreamExt, stream};
use serde_json::Value;
use uuid::Uuid;

use super::{Coupon, CouponCursor, Filter, PORTION};
use crate::database::Database;
use crate::http::csv_export::csv_safe;
use crate::http::error::Error;
use crate::ids::TenantId;
use crate::telemetry::Chain;

pub(super) fn stream(database: Database, tenant: TenantId, set: Uuid, filter: Filter) -> Response {
    let start = Some((filter.start(), true));
    let portions = stream::try_unfold(start, move |at| {
        let (database, filter) = (database.clone(), filter.clone());
        async move {
            let Some((after, is_first)) = at else {
                return Ok::<_, Error>(None);
            };
            let mut transaction = database.tenant(tenant).await?;
            let portion =
                super::read(&mut transaction, tenant, &filter, &after, false, PORTION).await?;
            transaction.commit().await?;
            let coupons = portion.found.iter().map(|(_, coupon)| coupon);
            let text = render(coupons, is_first)?;
            Ok(Some((
                text,
                portion.rest.map(|rest: CouponCursor| (rest, false)),
            )))
        }
    });
    // The head is on its way by then: all that is left is to break off, and to say why where it can be read.
    let portions = portions.inspect_err(move |error| {
        tracing::warn!(%set, error = %Chain(error), "an export broke off");
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"coupons.csv\"",
        ),
    ];
    (headers, Body::from_stream(portions)).into_response()
}

fn render<'a>(
    coupons: impl Iterator<Item = &'a Coupon>,
    with_header: bool,
) -> Result<Bytes, Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let failed =
        |error: csv::Error| Error::Internal(format!("an export cannot be written: {error}"));
    if with_header {
        writer
            .write_record([
                "code",
                "status",
                "contactId",
                "assignmentId",
                "importId",
                "importedAt",
                "expiresAt",
                "attributes",
            ])
            .map_err(failed)?;
    }
    for coupon in coupons {
        writer
            .write_record([
                csv_safe(&coupon.code).as_ref(),
                &coupon.status,
                csv_safe(coupon.contact_id.as_deref().unwrap_or_default()).as_ref(),
                &id(coupon.assignment_id),
                &id(coupon.import_id),
                &time(coupon.imported_at),
                &time(coupon.expires_at),
                &coupon
                    .attributes
                    .as_ref()
                    .map(Value::to_string)
                    .unwrap_or_default(),
            ])
            .map_err(failed)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| Error::Internal(format!("an export cannot be written: {error}")))?;
    Ok(bytes.into())
}

fn id(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// As in JSON.
fn time(time: Option<DateTime<Utc>>) -> String {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}
