//! The assignments of a set, or of a tenant set by set, as CSV: streamed portion by portion, so that any number of them takes
//! constant memory. Each portion is read by itself, so nothing waits for a slow reader.

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

/// Assignments of a portion.
const PORTION: i64 = 2_000;

/// Where an export stands.
struct Progress {
    scope: ExportScope,
    /// Of the set that is being read: its assignments after one number and before another.
    reading: Option<(i32, i64, i64)>,
    has_head: bool,
}

pub(crate) fn stream(database: Database, tenant: TenantId, scope: ExportScope) -> Response {
    let start = Progress {
        scope,
        reading: None,
        has_head: false,
    };
    let portions = stream::try_unfold(start, move |mut progress| {
        let database = database.clone();
        async move {
            let assignments = next(&database, tenant, &mut progress).await?;
            if assignments.is_empty() && progress.has_head {
                return Ok::<_, Error>(None);
            }
            let header = (!progress.has_head).then_some(COLUMNS);
            let rendered = csv_export::render(header, &assignments, cells)?;
            progress.has_head = true;
            Ok(Some((rendered, progress)))
        }
    });
    csv_export::respond("assignments.csv", tenant, portions)
}

/// Reads the next portion; an empty one is the end.
async fn next(
    database: &Database,
    tenant: TenantId,
    progress: &mut Progress,
) -> Result<Vec<Assignment>, Error> {
    let mut transaction = database.tenant(tenant).await?;
    let found = loop {
        let Some((set_no, after, before)) = progress.reading else {
            let Some(set_no) = progress.scope.set_nos.pop_front() else {
                break Vec::new();
            };
            let ExportScope { from, to, .. } = progress.scope;
            let (first, end) = db::export_range(&mut transaction, tenant, set_no, from, to).await?;
            progress.reading = Some((set_no, first - 1, end));
            continue;
        };
        let numbers =
            db::export_numbers(&mut transaction, tenant, set_no, after, before, PORTION).await?;
        let Some(last) = numbers.last() else {
            progress.reading = None;
            continue;
        };
        progress.reading = Some((set_no, *last, before));
        let places: Vec<AssignmentKey> = numbers
            .iter()
            .map(|number| AssignmentKey {
                set_no,
                number: *number,
            })
            .collect();
        break db::find(&mut transaction, tenant, &places).await?;
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
