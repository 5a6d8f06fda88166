//! Reads what a shop delivers — a CSV file, a workbook, a pasted list or a JSON body, packed or not — into rows: a line
//! and a code with its expiry and attributes, or the reason why there is none.
//!
//! Readers are synchronous and push each row into a sink. Whatever arrives (a quoted field of a
//! gigabyte, a hundred thousand columns, a file that unpacks to a thousand times its size) they hold
//! a few buffers of fixed size, never the file; only of a workbook are the strings held. A
//! fault of one row is a row; only what makes the whole delivery unreadable ends the reading, and
//! rows that were already pushed are then for the caller to discard.
//!
//! The way of the bytes: `unpack` finds what counts in the file (with `archive` for zip), `encoding` makes UTF-8 of a
//! text, `csv` or `sheet` of a `workbook` makes records of it, and `table` rows of those.

mod archive;
mod attributes;
mod code;
mod column;
mod csv;
mod delivery;
mod detect;
mod encoding;
mod fault;
mod header;
mod input;
mod json;
mod list;
mod numbers;
mod part;
mod sample;
mod sheet;
mod table;
#[cfg(test)]
mod tests;
mod unpack;
mod workbook;

use std::io;

use chrono::{DateTime, Utc};

use crate::time_zone::Zone;
pub(crate) use delivery::{Claim, Delivery, Format, Understood};
pub(crate) use detect::Delimiter;
pub(crate) use encoding::named as encoding_named;
pub(crate) use fault::Fault;
use fault::fault_of;
pub(crate) use sample::{Sample, sample};
pub(crate) use table::{TableLayout, TableOptions};

/// One row of a delivery that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Where it starts: the physical line in CSV and lists, the place in the array in JSON; from 1.
    pub(crate) line: u32,
    /// The code as the shop wrote it, without the blanks around it.
    pub(crate) code: Result<String, Rejection>,
    /// When it expires, if ever.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// What else is told of the code: the text of a JSON object of strings.
    pub(crate) attributes: Option<String>,
}

/// What rows are judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The zone of dates without an offset.
    pub(crate) zone: Zone,
    /// The most characters of a code.
    pub(crate) code_chars: usize,
}

impl Row {
    /// A row with the text that says when its code expires, by the clocks of `zone`; a blank one says never.
    fn judge(
        line: u32,
        code: Result<String, Rejection>,
        expiry: Result<&str, Rejection>,
        attributes: Result<Option<String>, Reason>,
        zone: Zone,
    ) -> Self {
        let moment = match expiry.map(|text| text.trim_matches(code::is_blank)) {
            Ok("") => Ok(None),
            Ok(text) => zone.read_moment(text).map(Some).map_err(|_| ()),
            Err(_) => Err(()),
        };
        let judged = code.and_then(|code| match (moment, attributes) {
            (Ok(expires_at), Ok(attributes)) => Ok((code, expires_at, attributes)),
            (Err(()), _) => Err(code::reject(&code, Reason::BadDate)),
            (_, Err(reason)) => Err(code::reject(&code, reason)),
        });
        match judged {
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
    /// It has too many characters.
    TooLong,
    /// A control character, such as NUL or a line break, is inside.
    ControlCharacter,
    /// It cannot be read in the encoding of the text.
    InvalidEncoding,
    /// It is a code, but when it expires cannot be read.
    BadDate,
    /// It is a code, but an attribute has more than 1,000 characters.
    AttributeTooLong,
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
            Self::AttributeTooLong => "attributeTooLong",
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
    Fault(Fault),
    #[error("too many workbooks are being read")]
    Busy,
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
    Io(io::Error),
    #[error("the row could not be stored")]
    Sink(E),
}

impl<E> From<Fault> for ReadError<E> {
    fn from(fault: Fault) -> Self {
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
