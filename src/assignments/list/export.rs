//! CSV export of the assignments of a set, or of a tenant set by set. Rows are streamed in batches, so memory is constant.
//! Each batch is read in its own transaction, so a slow client holds no connection and no snapshot.

use std::borrow::Cow;

use axum::response::Response;
use futures_util::stream;

use super::db;
use crate::assignments::Assignment;
use crate::database::Database;
use crate::http::csv_export::{self, text, time, value};
use crate::http::error::Error;
use crate::ids::{AssignmentKey, TenantId};
use crate::statistics::ExportScope;

const COLUMNS: [&str; 13] = [
    "id",
    "couponCode",
    "couponSetId",
    "requestedCouponSetId",
    "contactId",
    "state",
    "assignedAt",
    "reservedUntil",
    "expiresAt",
    "workflowId",
    "nodeId",
    "executionId",
    "attributes",
];

/// Number of assignments per batch.
const BATCH_SIZE: i64 = 2_000;

/// The position of an export.
struct ExportCursor {
    scope: ExportScope,
    /// The rest of the current set: its number, and the assignment numbers that the rest lies between, both exclusive.
    range: Option<(i32, i64, i64)>,
    header_is_sent: bool,
}

pub(crate) fn stream(database: Database, tenant: TenantId, scope: ExportScope) -> Response {
    let start = ExportCursor {
        scope,
        range: None,
        header_is_sent: false,
    };
    let batches = stream::try_unfold(start, move |mut cursor| {
        let database = database.clone();
        async move {
            let assignments = next(&database, tenant, &mut cursor).await?;
            if assignments.is_empty() && cursor.header_is_sent {
                return Ok::<_, Error>(None);
            }
            let header = (!cursor.header_is_sent).then_some(COLUMNS);
            let rendered = csv_export::render(header, &assignments, cells)?;
            cursor.header_is_sent = true;
            Ok(Some((rendered, cursor)))
        }
    });
    csv_export::respond("assignments.csv", tenant, batches)
}

/// Reads the next batch. An empty one is the end of the export.
async fn next(
    database: &Database,
    tenant: TenantId,
    cursor: &mut ExportCursor,
) -> Result<Vec<Assignment>, Error> {
    let mut transaction = database.export(tenant).await?;
    let found = loop {
        let Some((set_no, after, before)) = cursor.range else {
            let Some(set_no) = cursor.scope.set_nos.pop_front() else {
                break Vec::new();
            };
            let ExportScope { from, to, .. } = cursor.scope;
            let (first, end) = db::export_range(&mut transaction, tenant, set_no, from, to).await?;
            cursor.range = Some((set_no, first - 1, end));
            continue;
        };
        let numbers =
            db::export_numbers(&mut transaction, tenant, set_no, after, before, BATCH_SIZE).await?;
        let Some(last) = numbers.last() else {
            cursor.range = None;
            continue;
        };
        cursor.range = Some((set_no, *last, before));
        let keys: Vec<AssignmentKey> = numbers
            .iter()
            .map(|number| AssignmentKey {
                set_no,
                number: *number,
            })
            .collect();
        break db::find(&mut transaction, tenant, &keys).await?;
    };
    transaction.commit().await?;
    Ok(found)
}

fn cells(assignment: &Assignment) -> [Cow<'_, str>; COLUMNS.len()] {
    [
        value(Some(assignment.id)),
        text(&assignment.coupon_code),
        value(Some(assignment.coupon_set_id)),
        value(Some(assignment.requested_coupon_set_id)),
        text(&assignment.contact_id),
        assignment.state.as_str().into(),
        time(Some(assignment.assigned_at)),
        time(assignment.reserved_until),
        time(assignment.expires_at),
        text(assignment.workflow_id.as_deref().unwrap_or_default()),
        text(assignment.node_id.as_deref().unwrap_or_default()),
        text(assignment.execution_id.as_deref().unwrap_or_default()),
        value(assignment.attributes.as_ref()),
    ]
}
