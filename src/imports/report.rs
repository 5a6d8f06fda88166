//! The rejected rows as CSV, streamed, so that any number of them takes constant memory.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use futures_util::{TryStreamExt, stream};
use uuid::Uuid;

use super::db::{self, RejectedRow};
use crate::database::Database;
use crate::error::{Chain, Error};
use crate::tenants::TenantId;

/// Rows that are read at a time.
const PAGE: i64 = 5_000;

/// Where the stream stands: after this row, or at its end.
enum At {
    Start,
    After(i32),
    End,
}

pub(super) fn stream(database: Database, tenant: TenantId, import: Uuid) -> Response {
    let pages = stream::try_unfold(At::Start, move |at| {
        let database = database.clone();
        async move {
            let after = match at {
                At::Start => 0,
                At::After(row_no) => row_no,
                At::End => return Ok::<_, Error>(None),
            };
            let mut transaction = database.tenant(tenant).await?;
            let rows = db::list_errors(&mut transaction, tenant, import, after, PAGE).await?;
            transaction.commit().await?;
            let next = match rows.last() {
                Some(last) => At::After(last.row_no),
                None => At::End,
            };
            Ok(Some((render(&rows, matches!(at, At::Start))?, next)))
        }
    });
    // The head is on its way by then: all that is left is to break off, and to say why where it can be read.
    let pages = pages.inspect_err(move |error| {
        tracing::warn!(%import, error = %Chain(error), "a report broke off");
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"errors.csv\"",
        ),
    ];
    (headers, Body::from_stream(pages)).into_response()
}

/// Returns a cell that no spreadsheet program evaluates as a formula.
pub(crate) fn csv_safe(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

fn render(rows: &[RejectedRow], with_header: bool) -> Result<Bytes, Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let failed =
        |error: csv::Error| Error::Internal(format!("a report cannot be written: {error}"));
    if with_header {
        writer
            .write_record([
                "line",
                "code",
                "reason",
                "firstLine",
                "cameInAt",
                "couponSet",
            ])
            .map_err(failed)?;
    }
    for row in rows {
        let first_line = row
            .first_line
            .map(|line| line.to_string())
            .unwrap_or_default();
        let came_in_at = row
            .came_in_at
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
            .unwrap_or_default();
        writer
            .write_record([
                &row.line.to_string(),
                csv_safe(&row.code).as_ref(),
                &row.reason,
                &first_line,
                &came_in_at,
                csv_safe(row.other_set.as_deref().unwrap_or_default()).as_ref(),
            ])
            .map_err(failed)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| Error::Internal(format!("a report cannot be written: {error}")))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_no_formula() {
        for cell in ["=1+1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert_eq!(csv_safe(cell), format!("'{cell}"));
        }
        assert_eq!(csv_safe("A=1"), "A=1");
        assert_eq!(csv_safe(""), "");
    }
}
