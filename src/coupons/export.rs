//! The coupons of a set as CSV, streamed portion by portion, so that any number of them takes constant memory.
//!
//! Each portion is read by itself: it shows its moment, and nothing waits for a slow reader.

use std::borrow::Cow;

use axum::response::Response;
use futures_util::stream;
use uuid::Uuid;

use super::{Coupon, CouponCursor, Filter, PORTION};
use crate::database::Database;
use crate::http::csv_export::{self, text, time, value};
use crate::http::error::Error;
use crate::ids::TenantId;

const COLUMNS: [&str; 8] = [
    "code",
    "status",
    "contactId",
    "assignmentId",
    "importId",
    "importedAt",
    "expiresAt",
    "attributes",
];

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
            let rendered = csv_export::render(is_first.then_some(COLUMNS), coupons, cells)?;
            Ok(Some((
                rendered,
                portion.rest.map(|rest: CouponCursor| (rest, false)),
            )))
        }
    });
    csv_export::respond("coupons.csv", set, portions)
}

fn cells(coupon: &Coupon) -> [Cow<'_, str>; COLUMNS.len()] {
    [
        text(&coupon.code),
        coupon.status.as_str().into(),
        text(coupon.contact_id.as_deref().unwrap_or_default()),
        value(coupon.assignment_id),
        value(coupon.import_id),
        time(coupon.imported_at),
        time(coupon.expires_at),
        value(coupon.attributes.as_ref()),
    ]
}
