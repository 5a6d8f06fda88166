//! The rejected rows as CSV. They are streamed, so any number of them takes constant memory.

use std::borrow::Cow;

use axum::response::Response;
use chrono::SubsecRound;
use futures_util::stream;
use uuid::Uuid;

use super::db::{self, RejectedRow};
use crate::database::Database;
use crate::http::csv_export::{self, text, time, value};
use crate::http::error::Error;
use crate::ids::TenantId;

const COLUMNS: [&str; 6] = [
    "line",
    "code",
    "reason",
    "firstLine",
    "cameInAt",
    "couponSet",
];

/// Rows that are read in one transaction.
const PAGE_ROWS: i64 = 5_000;

/// Position of the stream.
enum StreamPosition {
    Start,
    /// After the row with this number.
    After(i32),
    End,
}

pub(super) fn stream(database: Database, tenant: TenantId, import: Uuid) -> Response {
    let pages = stream::try_unfold(StreamPosition::Start, move |at| {
        let database = database.clone();
        async move {
            let after = match at {
                StreamPosition::Start => 0,
                StreamPosition::After(row_no) => row_no,
                StreamPosition::End => return Ok::<_, Error>(None),
            };
            let mut transaction = database.export(tenant).await?;
            let rows = db::list_errors(&mut transaction, tenant, import, after, PAGE_ROWS).await?;
            transaction.commit().await?;
            let next = match rows.last() {
                Some(last) => StreamPosition::After(last.row_no),
                None => StreamPosition::End,
            };
            let header = matches!(at, StreamPosition::Start).then_some(COLUMNS);
            Ok(Some((csv_export::render(header, &rows, cells)?, next)))
        }
    });
    csv_export::respond("errors.csv", import, pages)
}

fn cells(row: &RejectedRow) -> [Cow<'_, str>; COLUMNS.len()] {
    [
        value(Some(row.line)),
        text(&row.code),
        row.reason.as_str().into(),
        value(row.first_line),
        time(row.came_in_at.map(|at| at.trunc_subsecs(0))),
        text(row.other_set.as_deref().unwrap_or_default()),
    ]
}
