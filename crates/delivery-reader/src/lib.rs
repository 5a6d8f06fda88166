//! Reads a delivery of codes into rows. A delivery is a CSV file, a workbook (XLSX, ODS or XLS), a list or a JSON body, packed with
//! gzip or zip or not packed. A row has a line number and a code with its expiry and attributes, or the reason why the
//! row is rejected.
//!
//! Readers are synchronous and push each row into a sink. They hold a few buffers of fixed size, never the file, whatever
//! arrives: a quoted field of a gigabyte, a hundred thousand columns, a file that unpacks to a thousand times its size.
//! The exception is the strings of a workbook, which are held within a limit. A fault of one row rejects that row. Only
//! a fault that makes the whole delivery unreadable ends the reading; the caller must then discard the rows that were
//! already pushed.
//!
//! Data flow: `unpack` finds the relevant file in a package (with `archive` for zip), `encoding` converts a text to
//! UTF-8, `csv` or `workbook` parses it into records, and `table` makes rows of those. `sample` previews the
//! first part of a delivery.
//!
//! # Fuzzing
//!
//! Parsers of untrusted bytes are fuzzed: `csv`, `xlsx`, `ods`, `xls`, `json` and `packing` in `fuzz/`. See `README.md`.

mod archive;
mod attributes;
mod code;
mod csv;
mod delivery;
mod detect;
mod encoding;
mod fault;
mod header;
mod input;
mod json;
mod limits;
mod list;
mod markup;
mod numbers;
mod profile;
mod sample;
mod sample_source;
mod table;
#[cfg(test)]
mod tests;
mod timestamp;
mod unpack;
mod warning;
mod workbook;
mod xml;

use std::io;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

pub use delivery::{ContentTypeHint, DeliveryLayout, DeliveryReader, TextFormat};
pub use detect::{Delimiter, UnknownDelimiter};
pub use encoding::named as encoding_named;
pub use fault::DeliveryFault;
use fault::fault_of;
pub use limits::{Limits, WorkbookSemaphore};
pub use sample::{Sample, sample};
pub use table::{TableLayout, TableOptions};
pub use timestamp::{first_instant, parse_timestamp};
pub use warning::Warning;

/// One row of a delivery that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Position of the row, from 1: the physical line on which it starts in CSV and lists, the row of a sheet, or the
    /// place in the array in JSON.
    pub line: u32,
    /// The code as written in the delivery, without surrounding blanks.
    pub code: Result<String, Rejection>,
    /// Expiry of the code; `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Attributes of the code: the text of a JSON object of strings.
    pub attributes: Option<String>,
}

/// Rules by which rows are validated.
#[derive(Clone, Copy, Debug)]
pub struct RowRules {
    /// Time zone of dates, and of times without an offset.
    pub zone: Tz,
    /// Most characters of a code.
    pub max_code_chars: usize,
}

impl Row {
    /// Makes a row from its parts. `expiry` is the text of a date or time in `zone`; a blank text means no expiry.
    fn new(
        line: u32,
        code: Result<String, Rejection>,
        expiry: Result<&str, Rejection>,
        attributes: Result<Option<String>, RejectionReason>,
        zone: Tz,
    ) -> Self {
        let expires_at = match expiry.map(|text| text.trim_matches(code::is_blank)) {
            Ok("") => Ok(None),
            Ok(text) => timestamp::parse_timestamp(text, zone).map(Some).ok_or(()),
            Err(_) => Err(()),
        };
        let valid = code.and_then(|code| match (expires_at, attributes) {
            (Ok(expires_at), Ok(attributes)) => Ok((code, expires_at, attributes)),
            (Err(()), _) => Err(code::reject(&code, RejectionReason::BadDate)),
            (_, Err(reason)) => Err(code::reject(&code, reason)),
        });
        match valid {
            Ok((code, expires_at, attributes)) => Self {
                line,
                code: Ok(code),
                expires_at,
                attributes,
            },
            Err(rejection) => Self {
                line,
                code: Err(rejection),
                expires_at: None,
                attributes: None,
            },
        }
    }
}

/// A row that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The text in place of a code, made printable and cut to 255 characters.
    pub code: String,
    /// The reason of the rejection.
    pub reason: RejectionReason,
}

/// Reasons to reject a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// The cell is blank, or the row has too few columns.
    Empty,
    /// The code has too many characters.
    TooLong,
    /// A control character, such as NUL or a line break, is inside.
    ControlCharacter,
    /// The bytes are invalid in the encoding of the text.
    InvalidEncoding,
    /// The code is valid, but its expiry is not a date or time.
    BadDate,
    /// The code is valid, but an attribute has more than 1,000 characters.
    AttributeTooLong,
}

impl RejectionReason {
    /// The name of the reason in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "tooLong",
            Self::ControlCharacter => "controlCharacter",
            Self::InvalidEncoding => "invalidEncoding",
            Self::BadDate => "badDate",
            Self::AttributeTooLong => "attributeTooLong",
        }
    }
}

/// A fault of one field of a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// A description of the fault.
    pub detail: String,
}

/// Errors that end the reading; `E` is the sink's error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The delivery as a whole cannot be read.
    #[error(transparent)]
    Fault(DeliveryFault),
    /// No permit for a workbook was free in time.
    #[error("too many workbooks are being read")]
    Busy,
    /// A CSV file ends inside a quoted cell.
    #[error("the quote opened in line {line} is never closed")]
    UnclosedQuote {
        /// The line of the quote, from 1.
        line: u32,
    },
    /// A JSON body is malformed.
    #[error("{message} at line {line}, column {column}")]
    Syntax {
        /// The line of the fault, from 1.
        line: usize,
        /// The column of the fault, from 1.
        column: usize,
        /// A description of the fault.
        message: String,
    },
    /// Fields of a JSON body have wrong types or names, or are missing.
    #[error("the body has {} fields that are not valid", .0.len())]
    Fields(Vec<FieldFault>),
    /// The file could not be read.
    #[error("the file could not be read")]
    Io(io::Error),
    /// The sink failed.
    #[error("the row could not be stored")]
    Sink(E),
}

impl<E> From<DeliveryFault> for ReadError<E> {
    fn from(fault: DeliveryFault) -> Self {
        Self::Fault(fault)
    }
}

impl<E> From<io::Error> for ReadError<E> {
    fn from(error: io::Error) -> Self {
        match fault_of(&error) {
            Some(fault) => Self::Fault(fault.clone()),
            None => Self::Io(error),
        }
    }
}
