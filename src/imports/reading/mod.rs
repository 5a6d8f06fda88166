//! Reads what a shop delivers — a CSV file, a pasted list or a JSON body — into rows: a line and a
//! code with its expiry, or the reason why there is none.
//!
//! Readers are synchronous and push each row into a sink. Whatever arrives (a quoted field of a
//! gigabyte, a hundred thousand columns) they hold a few buffers of fixed size, never the file. A
//! fault of one row is a row; only what makes the whole delivery unreadable ends the reading, and
//! rows that were already pushed are then for the caller to discard.

mod code;
mod csv;
mod detect;
mod header;
mod input;
mod json;
mod list;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, io};

use chrono::{DateTime, Utc};

use crate::time_zone::Zone;
pub(crate) use csv::{CsvLayout, CsvOptions, read_csv};
pub(crate) use detect::Delimiter;
pub(crate) use json::read_json;
pub(crate) use list::read_list;

/// One row of a delivery that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Where it starts: the physical line in CSV and lists, the place in the array in JSON; from 1.
    pub(crate) line: u32,
    /// The code as the shop wrote it, without the blanks around it.
    pub(crate) code: Result<String, Rejection>,
    /// When it expires, if ever.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl Row {
    /// A row with the text that says when its code expires, by the clocks of `zone`; a blank one says never.
    fn expiring(
        line: u32,
        code: Result<String, Rejection>,
        expiry: Result<&str, Rejection>,
        zone: Zone,
    ) -> Self {
        let moment = match expiry.map(|text| text.trim_matches(code::is_blank)) {
            Ok("") => Ok(None),
            Ok(text) => zone.read_moment(text).map(Some).map_err(|_| ()),
            Err(_) => Err(()),
        };
        let judged = code.and_then(|code| match moment {
            Ok(expires_at) => Ok((code, expires_at)),
            Err(()) => Err(code::reject(&code, Reason::BadDate)),
        });
        match judged {
            Ok((code, expires_at)) => Self {
                line,
                code: Ok(code),
                expires_at,
            },
            Err(rejection) => Self {
                line,
                code: Err(rejection),
                expires_at: None,
            },
        }
    }
}

/// A row that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// What stood there, made printable and cut to 255 characters.
    pub(crate) code: String,
    /// Why it is rejected.
    pub(crate) reason: Reason,
}

/// Why a row is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The cell is blank, or the row has too few columns.
    Empty,
    /// It has more than 255 characters.
    TooLong,
    /// A control character, such as NUL or a line break, is inside.
    ControlCharacter,
    /// It is not UTF-8.
    InvalidEncoding,
    /// It is a code, but when it expires cannot be read.
    BadDate,
}

impl Reason {
    /// Its name in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "tooLong",
            Self::ControlCharacter => "controlCharacter",
            Self::InvalidEncoding => "invalidEncoding",
            Self::BadDate => "badDate",
        }
    }
}

/// A delivery that has no rows to offer; it shows before the first row is pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("there are no codes in it: it is empty")]
    Empty,
    #[error("there are no codes in it: it has a header and no rows")]
    OnlyHeader,
    #[error(
        "there is no column {wanted:?}; the first row has {}",
        Columns(columns)
    )]
    NoSuchColumn {
        wanted: String,
        columns: Vec<String>,
    },
    #[error(
        "which column holds the codes? pass codeColumn as a name or as a number from 1; \
         the first row has {}",
        Columns(columns)
    )]
    CodeColumnNeeded { columns: Vec<String> },
    #[error(
        "{wanted:?} is the name of a column, but header=false says that the file has no names; \
         pass the column as a number from 1"
    )]
    NameWithoutHeader { wanted: String },
    #[error("codeColumn and expiresAtColumn are the same column")]
    OneColumnForBoth,
    #[error("the text is not UTF-8; save it as UTF-8, in Excel \"CSV UTF-8\"")]
    UnreadableEncoding,
}

/// Names of columns for a message, which stays short however many there are.
struct Columns<'a>(&'a [String]);

impl fmt::Display for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 20;
        for (place, name) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{}{name:?}", if place == 0 { "" } else { ", " })?;
        }
        match self.0.len().checked_sub(NAMED) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// A fault of one field of a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldFault {
    /// Where it is: a JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) detail: String,
}

/// What ends the reading; `E` is the sink's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError<E> {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the quote that opens on line {line} is never closed")]
    UnclosedQuote { line: u32 },
    #[error("{message} at line {line}, column {column}")]
    Syntax {
        line: usize,
        column: usize,
        message: String,
    },
    #[error("the body has {} wrong fields", .0.len())]
    Fields(Vec<FieldFault>),
    #[error("the delivery could not be read")]
    Io(#[from] io::Error),
    #[error("the row could not be stored")]
    Sink(E),
}

/// A report's cell that no spreadsheet takes for a formula.
pub(crate) fn csv_safe(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}
