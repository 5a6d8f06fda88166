//! What makes a whole delivery unreadable.

use std::{fmt, io};

/// A delivery that cannot be read. It is the cause of an `io::Error` where it shows below the readers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the file is empty")]
    Empty,
    #[error("the file has a header but no rows")]
    OnlyHeader,
    #[error(
        "the column {wanted:?} does not exist; the first row has {}",
        Columns(columns)
    )]
    NoSuchColumn {
        wanted: String,
        columns: Vec<String>,
    },
    #[error(
        "the column with the codes is not known; pass codeColumn as a name or as a number from 1; \
         the first row has {}",
        Columns(columns)
    )]
    CodeColumnNeeded { columns: Vec<String> },
    #[error(
        "{wanted:?} is the name of a column, but header=false states that the file has no names; \
         pass the column as a number from 1"
    )]
    NameWithoutHeader { wanted: String },
    #[error("codeColumn and expiresAtColumn are the same column")]
    OneColumnForBoth,
    #[error(
        "the beginning of the file cannot be read in its encoding; save it as UTF-8 (in Excel \"CSV UTF-8\"), or pass encoding"
    )]
    UnreadableEncoding,
    #[error(
        "{column:?} is used more than once; name it only once in attributeColumns, without the columns of the codes and their expiry"
    )]
    AttributeTwice { column: String },
    #[error("attributeColumns has {columns} columns, but at most 50 are allowed")]
    TooManyAttributes { columns: usize },
    #[error("the file is neither text nor a workbook, and is not compressed with gzip or zip")]
    NotText,
    #[error(
        "the file is {name}; send a CSV file or a workbook (XLSX), optionally compressed with gzip or zip"
    )]
    OtherFormat { name: &'static str },
    #[error(
        "the file is a workbook in the old Excel format (XLS) or has a password; save it as XLSX without a password, or as CSV"
    )]
    OldWorkbook,
    #[error("Content-Encoding is gzip, but the body is not compressed with gzip")]
    NotGzip,
    #[error("the file is compressed too many times; unpack it first")]
    PackedTooOften,
    #[error("the gzip data end too early; the file is incomplete, so send it again")]
    CutShort,
    #[error("the {what} is damaged")]
    Damaged { what: &'static str },
    #[error(
        "the zip archive has no directory at its end; it is damaged or incomplete, so send the complete file"
    )]
    NoDirectory,
    #[error("the zip archive contains too many files")]
    TooManyFiles,
    #[error("the zip archive contains no file")]
    EmptyArchive,
    #[error(
        "the zip archive contains {} files, but only one can be imported; send one of {}",
        files.len(),
        Columns(files)
    )]
    SeveralFiles { files: Vec<String> },
    #[error("{name:?} in the zip archive is encrypted; compress it without a password")]
    Encrypted { name: String },
    #[error(
        "{name:?} in the zip archive is compressed with an unsupported method; use the usual method (deflate)"
    )]
    UnknownMethod { name: String },
    #[error("the workbook has no sheet with rows")]
    NoSheet,
    #[error(
        "the sheet {wanted:?} does not exist; the workbook has {}",
        Columns(sheets)
    )]
    NoSuchSheet { wanted: String, sheets: Vec<String> },
    #[error("the file is not a workbook, so it has no sheet {wanted:?}")]
    NotAWorkbook { wanted: String },
    #[error("the unpacked file has more than {limit} bytes")]
    UnpackedTooLarge { limit: u64 },
    #[error("a workbook can have at most {limit} bytes; save it as CSV")]
    WorkbookTooLarge { limit: u64 },
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

/// The fault that an error carries.
pub(super) fn fault_of(error: &io::Error) -> Option<&Fault> {
    error.get_ref()?.downcast_ref()
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
