//! The rejected rows as CSV, streamed, so that any number of them takes constant memory.

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
            let header = matches!(at, At::Start).then_some(COLUMNS);
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
