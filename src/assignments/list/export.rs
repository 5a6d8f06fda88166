//! The assignments of a set, or of a tenant set by set, as CSV: streamed portion by portion, so that any number of them takes
//! constant memory. Each portion is read by itself, so nothing waits for a slow reader.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{TryStreamExt, stream};
use serde_json::Value;

use super::db;
use crate::assignments::Assignment;
use crate::database::Database;
use crate::http::csv_export::csv_safe;
use crate::http::error::Error;
use crate::ids::{AssignmentKey, TenantId};
use crate::statistics::ExportScope;
use crate::telemetry::Chain;

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
            let text = render(&assignments, !progress.has_head)?;
            progress.has_head = true;
            Ok(Some((text, progress)))
        }
    });
    // The head is on its way by then: all that is left is to break off, and to say why where it can be read.
    let portions = portions.inspect_err(move |error| {
        tracing::warn!(error = %Chain(error), "an export of assignments broke off");
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"assignments.csv\"",
        ),
    ];
    (headers, Body::from_stream(portions)).into_response()
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

fn render(assignments: &[Assignment], with_head: bool) -> Result<Bytes, Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let failed =
        |error: csv::Error| Error::Internal(format!("an export cannot be written: {error}"));
    if with_head {
        writer
            .write_record([
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
            ])
            .map_err(failed)?;
    }
    let text = |text: &Option<String>| csv_safe(text.as_deref().unwrap_or_default()).into_owned();
    for assignment in assignments {
        writer
            .write_record([
                &assignment.id.to_string(),
                csv_safe(&assignment.coupon_code).as_ref(),
                &assignment.coupon_set_id.to_string(),
                &assignment.requested_coupon_set_id.to_string(),
                csv_safe(&assignment.contact_id).as_ref(),
                assignment.state.as_str(),
                &time(Some(assignment.assigned_at)),
                &time(assignment.reserved_until),
                &time(assignment.expires_at),
                &text(&assignment.workflow_id),
                &text(&assignment.node_id),
                &text(&assignment.execution_id),
                &assignment
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

/// As in JSON.
fn time(time: Option<DateTime<Utc>>) -> String {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}
