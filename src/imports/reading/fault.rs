//! What makes a whole delivery unreadable.

use std::{fmt, io};

/// A delivery that cannot be read. It is the cause of an `io::Error` where it shows below the readers.
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
    #[error(
        "its beginning cannot be read in its encoding; save it as UTF-8, in Excel \"CSV UTF-8\", or pass encoding"
    )]
    UnreadableEncoding,
    #[error(
        "{column:?} has more than one use; name it once in attributeColumns, and not the codes or their expiry"
    )]
    AttributeTwice { column: String },
    #[error("{columns} columns are too many for attributeColumns, which takes at most 50")]
    TooManyAttributes { columns: usize },
    #[error("it is no text, no workbook and not packed with gzip or zip")]
    NotText,
    #[error(
        "it is {name}; send a CSV file or a workbook (XLSX), packed with gzip or zip if you like"
    )]
    OtherFormat { name: &'static str },
    #[error(
        "it is a workbook of an old Excel (XLS) or one with a password; save it as XLSX without a password, or as CSV"
    )]
    OldWorkbook,
    #[error("Content-Encoding says gzip, but it is not packed with gzip")]
    NotGzip,
    #[error("it is packed into one another too often; unpack it first")]
    PackedTooOften,
    #[error("the gzip data end too soon; the file was cut off, so send it again")]
    CutShort,
    #[error("the {what} is damaged")]
    Damaged { what: &'static str },
    #[error(
        "the zip archive has no directory at its end; it is damaged or was cut off, so send it whole"
    )]
    NoDirectory,
    #[error("the zip archive holds far too many files")]
    TooManyFiles,
    #[error("the zip archive holds no file")]
    EmptyArchive,
    #[error(
        "the zip archive holds {} files and only one can be imported; send one of {}",
        files.len(),
        Columns(files)
    )]
    SeveralFiles { files: Vec<String> },
    #[error("{name:?} in the zip archive is encrypted; pack it without a password")]
    Encrypted { name: String },
    #[error(
        "{name:?} in the zip archive is packed in an unusual way; pack it with the usual method (deflate)"
    )]
    UnknownMethod { name: String },
    #[error("the workbook has no sheet with rows")]
    NoSheet,
    #[error("there is no sheet {wanted:?}; the workbook has {}", Columns(sheets))]
    NoSuchSheet { wanted: String, sheets: Vec<String> },
    #[error("it is no workbook, so it has no sheet {wanted:?}")]
    NotAWorkbook { wanted: String },
    #[error("what is packed in it has more than {limit} bytes")]
    UnpackedTooLarge { limit: u64 },
    #[error("a workbook may have at most {limit} bytes; save it as CSV")]
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
