//! Faults that make a whole delivery unreadable.

use std::{fmt, io};

/// A fault that makes a delivery unreadable. Below the readers it is the cause of an `io::Error`. Messages name the options
/// of a table in camel case, as JSON does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryFault {
    /// The delivery has no rows.
    #[error("there are no codes in it: it is empty")]
    Empty,
    /// The first row is a header, and no row follows.
    #[error("there are no codes in it: it has a header and no rows")]
    OnlyHeader,
    /// An option names a column that does not exist.
    #[error(
        "there is no column {wanted:?}; the first row has {}",
        NameList(columns)
    )]
    NoSuchColumn {
        /// The name or number of the option.
        wanted: String,
        /// The cells of the first row.
        columns: Vec<String>,
    },
    /// No option names the code column, and no name in the first row is known.
    #[error(
        "which column holds the codes? pass codeColumn as a name or as a number from 1; \
         the first row has {}",
        NameList(columns)
    )]
    CodeColumnNeeded {
        /// The cells of the first row.
        columns: Vec<String>,
    },
    /// An option names a column by its name, but another option says that there is no header.
    #[error(
        "{wanted:?} is the name of a column, but header=false says that the file has no names; \
         pass the column as a number from 1"
    )]
    NameWithoutHeader {
        /// The name of the option.
        wanted: String,
    },
    /// The code column and the expiry column are the same.
    #[error("codeColumn and expiresAtColumn are the same column")]
    OneColumnForBoth,
    /// The first row is invalid in its encoding.
    #[error(
        "its beginning cannot be read in its encoding; save it as UTF-8, in Excel \"CSV UTF-8\", or pass encoding"
    )]
    UnreadableEncoding,
    /// An attribute column is named twice, or is the code or expiry column.
    #[error(
        "{column:?} has more than one use; name it once in attributeColumns, and not the codes or their expiry"
    )]
    AttributeTwice {
        /// The cell of the column in the first row.
        column: String,
    },
    /// There are too many attribute columns.
    #[error("{columns} columns are too many for attributeColumns, which takes at most 50")]
    TooManyAttributes {
        /// The number of attribute columns.
        columns: usize,
    },
    /// Control characters show that the delivery is not a text.
    #[error("it is no text, no workbook and not packed with gzip or zip")]
    NotText,
    /// The delivery has a format that is not supported.
    #[error(
        "it is {name}; send a CSV file or a workbook (XLSX), packed with gzip or zip if you like"
    )]
    OtherFormat {
        /// The name of the format, with an article or a verb.
        name: &'static str,
    },
    /// The workbook has the format of Excel before 2007, or a password.
    #[error(
        "it is a workbook of an old Excel (XLS) or one with a password; save it as XLSX without a password, or as CSV"
    )]
    OldWorkbook,
    /// The caller announced gzip, but the delivery is not packed with it.
    #[error("Content-Encoding says gzip, but it is not packed with gzip")]
    NotGzip,
    /// Packages are nested too deeply.
    #[error("it is packed into one another too often; unpack it first")]
    PackedTooOften,
    /// The gzip data end before the end of a member.
    #[error("the gzip data end too soon; the file was cut off, so send it again")]
    CutShort,
    /// The format is malformed, or a checksum is wrong.
    #[error("the {what} is damaged")]
    Damaged {
        /// The name of the format.
        what: &'static str,
    },
    /// The zip archive has no central directory.
    #[error(
        "the zip archive has no directory at its end; it is damaged or was cut off, so send it whole"
    )]
    NoDirectory,
    /// The central directory of the zip archive is larger than its limit.
    #[error("the zip archive holds far too many files")]
    TooManyFiles,
    /// The zip archive holds no file, apart from hidden ones.
    #[error("the zip archive holds no file")]
    EmptyArchive,
    /// The zip archive holds more than one file.
    #[error(
        "the zip archive holds {} files and only one can be read; send one of {}",
        files.len(),
        NameList(files)
    )]
    SeveralFiles {
        /// The names of the files.
        files: Vec<String>,
    },
    /// The file in the zip archive is encrypted.
    #[error("{name:?} in the zip archive is encrypted; pack it without a password")]
    Encrypted {
        /// The name of the file.
        name: String,
    },
    /// The file in the zip archive is packed with an unsupported method.
    #[error(
        "{name:?} in the zip archive is packed in an unusual way; pack it with the usual method (deflate)"
    )]
    UnknownMethod {
        /// The name of the file.
        name: String,
    },
    /// All sheets of the workbook are hidden, or it has none.
    #[error("the workbook has no sheet with rows")]
    NoSheet,
    /// An option names a sheet that does not exist.
    #[error("there is no sheet {wanted:?}; the workbook has {}", NameList(sheets))]
    NoSuchSheet {
        /// The name of the option.
        wanted: String,
        /// The names of the sheets that are not hidden.
        sheets: Vec<String>,
    },
    /// An option names a sheet, but the delivery is not a workbook.
    #[error("it is no workbook, so it has no sheet {wanted:?}")]
    NotAWorkbook {
        /// The name of the option.
        wanted: String,
    },
    /// The unpacked bytes exceed a limit.
    #[error("what is packed in it has more than {limit} bytes")]
    UnpackedTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file of the workbook exceeds its limit.
    #[error("a workbook may have at most {limit} bytes; save it as CSV")]
    WorkbookTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
}

impl From<DeliveryFault> for io::Error {
    fn from(fault: DeliveryFault) -> Self {
        Self::other(fault)
    }
}

/// Returns the fault that is the cause of an error.
pub(crate) fn fault_of(error: &io::Error) -> Option<&DeliveryFault> {
    error.get_ref()?.downcast_ref()
}

/// Lists names in a message, at most 20 of them.
struct NameList<'a>(&'a [String]);

impl fmt::Display for NameList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_NAMES: usize = 20;
        for (place, name) in self.0.iter().take(MAX_NAMES).enumerate() {
            write!(f, "{}{name:?}", if place == 0 { "" } else { ", " })?;
        }
        match self.0.len().checked_sub(MAX_NAMES) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}
