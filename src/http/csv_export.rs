//! CSV exports. A response is streamed in chunks, so that it needs the same memory for any number of rows.

use std::borrow::Cow;
use std::fmt::Display;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{Stream, TryStreamExt};
use serde::Deserialize;

use super::error::Error;
use crate::telemetry::Chain;

/// The format of a response as a query parameter, for plain links, which cannot send `Accept`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Format {
    Csv,
}

/// Returns true if the caller requests CSV by parameter, or lists it in `Accept`. All other callers get JSON.
pub(crate) fn asks_for_csv(headers: &HeaderMap, format: Option<Format>) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/csv"));
    accepted || matches!(format, Some(Format::Csv))
}

/// Responds with a file of this name whose text comes in chunks. `subject` describes the rows in the log.
pub(crate) fn respond(
    file_name: &'static str,
    subject: impl Display + Send + 'static,
    chunks: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
) -> Response {
    // The headers are sent before the first chunk is read, so a failure can only end the body early and be logged.
    let chunks = chunks.inspect_err(move |error| {
        tracing::warn!(file_name, %subject, error = %Chain(error), "an export was interrupted");
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{file_name}\""),
        ),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// Renders rows as a chunk, after the header with the column names if there is one.
pub(crate) fn render<'a, R: 'a, const COLUMNS: usize>(
    header: Option<[&str; COLUMNS]>,
    rows: impl IntoIterator<Item = &'a R>,
    cells: impl Fn(&'a R) -> [Cow<'a, str>; COLUMNS],
) -> Result<Bytes, Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let failed =
        |error: csv::Error| Error::Internal(format!("an export cannot be written: {error}"));
    if let Some(header) = header {
        writer.write_record(header).map_err(failed)?;
    }
    for row in rows {
        let cells = cells(row);
        writer
            .write_record(cells.iter().map(|cell| cell.as_bytes()))
            .map_err(failed)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| Error::Internal(format!("an export cannot be written: {error}")))?;
    Ok(bytes.into())
}

/// Returns a cell with text of a caller, escaped so that no spreadsheet treats it as a formula.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns a cell with a value that the service has made, empty if there is none.
pub(crate) fn value(value: Option<impl Display>) -> Cow<'static, str> {
    value
        .map(|value| value.to_string())
        .unwrap_or_default()
        .into()
}

/// Returns a cell with a time in the format of the JSON API, empty if there is none.
pub(crate) fn time(time: Option<DateTime<Utc>>) -> Cow<'static, str> {
    value(time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn cells_that_a_spreadsheet_would_compute_are_defused() {
        for cell in ["=1+1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert_eq!(text(cell), format!("'{cell}"));
        }
        assert_eq!(text("A=1"), "A=1");
        assert_eq!(text(""), "");
    }

    #[test]
    fn only_a_portion_with_the_header_begins_with_it() {
        fn cells<'a>(row: &'a &str) -> [Cow<'a, str>; 2] {
            [text(row), value(None::<i32>)]
        }
        let render = |header| render(header, &["a,b", "c"], cells).unwrap();
        assert_eq!(render(Some(["x", "y"])), "x,y\r\n\"a,b\",\r\nc,\r\n");
        assert_eq!(render(None), "\"a,b\",\r\nc,\r\n");
    }

    #[test]
    fn a_time_has_as_many_digits_as_it_needs() {
        let at = Utc.with_ymd_and_hms(2026, 12, 31, 18, 0, 0).unwrap();
        assert_eq!(time(Some(at)), "2026-12-31T18:00:00Z");
        let at = at + chrono::TimeDelta::milliseconds(5);
        assert_eq!(time(Some(at)), "2026-12-31T18:00:00.005Z");
        assert_eq!(time(None), "");
    }
}
