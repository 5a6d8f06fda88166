//! The CSV export of the coupons of a set, streamed in batches so that it takes constant memory.
//!
//! Each batch is read in its own transaction. It shows the state at that time, and a slow reader blocks nothing.

use std::borrow::Cow;

use axum::response::Response;
use futures_util::stream;
use uuid::Uuid;

use super::{BATCH_SIZE, Coupon, CouponCursor, CouponFilter};
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

pub(super) fn stream(
    database: Database,
    tenant: TenantId,
    set: Uuid,
    filter: CouponFilter,
) -> Response {
    let start = Some((filter.start(), true));
    let batches = stream::try_unfold(start, move |at| {
        let (database, filter) = (database.clone(), filter.clone());
        async move {
            let Some((after, is_first)) = at else {
                return Ok::<_, Error>(None);
            };
            let mut transaction = database.export(tenant).await?;
            let batch =
                super::read(&mut transaction, tenant, &filter, &after, false, BATCH_SIZE).await?;
            transaction.commit().await?;
            let coupons = batch.coupons.iter().map(|(_, coupon)| coupon);
            let rendered = csv_export::render(is_first.then_some(COLUMNS), coupons, cells)?;
            Ok(Some((
                rendered,
                batch.next.map(|next: CouponCursor| (next, false)),
            )))
        }
    });
    csv_export::respond("coupons.csv", set, batches)
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
