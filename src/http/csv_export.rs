//! Answers as CSV: whether a caller asks for it, and cells that are safe to open.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use serde::Deserialize;

/// The format of an answer, for a plain link, which cannot send `Accept`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Format {
    Csv,
}

/// Whether the caller asks for CSV, or names it among the types that it accepts; all others get JSON.
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

/// A cell that no spreadsheet takes for a formula.
pub(crate) fn csv_safe(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
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
