//! Faults that make a whole delivery unreadable.

use std::{fmt, io};

use crate::header::MAX_COLUMNS;

/// A fault that makes a delivery unreadable. Below the readers it is the cause of an `io::Error`. Messages name the options
/// of a table in camel case, as JSON does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryFault {
    /// The delivery has no rows.
    #[error("the file is empty")]
    Empty,
    /// The first row is a header, and no row follows.
    #[error("the file has a header but no rows")]
    OnlyHeader,
    /// An option names a column that does not exist.
    #[error(
        "the column {wanted:?} does not exist; the first row has {}{}",
        NameList(columns),
        ColumnLimit(columns)
    )]
    NoSuchColumn {
        /// The name or number of the option.
        wanted: String,
        /// The cells of the first row.
        columns: Vec<String>,
    },
    /// No option names the code column, and no name in the first row is known.
    #[error(
        "the column with the codes is not known; pass codeColumn as a name or as a number from 1; \
         the first row has {}{}",
        NameList(columns),
        ColumnLimit(columns)
    )]
    CodeColumnNeeded {
        /// The cells of the first row.
        columns: Vec<String>,
    },
    /// A row after the first has the name of the code column.
    #[error(
        "line {line} has the name of the column with the codes, but other rows are above it; remove them, or pass header=false to \
         import every row"
    )]
    HeaderBelowFirst {
        /// The line of the row, from 1.
        line: u32,
    },
    /// An option names a column by its name, but another option says that there is no header.
    #[error(
        "{wanted:?} is the name of a column, but header=false states that the file has no names; \
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
        "the beginning of the file cannot be read in its encoding; save it as UTF-8 (in Excel \"CSV UTF-8\"), or pass encoding"
    )]
    UnreadableEncoding,
    /// Few letters are beyond ASCII, some in UTF-8 and some not.
    #[error(
        "the file has letters in UTF-8 and others that are not; save it as UTF-8 (in Excel \"CSV UTF-8\"), or pass encoding"
    )]
    MixedEncodings,
    /// An attribute column is named twice, or is the code or expiry column.
    #[error(
        "{column:?} is used more than once; name it only once in attributeColumns, without the columns of the codes and their expiry"
    )]
    AttributeTwice {
        /// The cell of the column in the first row.
        column: String,
    },
    /// There are too many attribute columns.
    #[error("attributeColumns has {columns} columns, but at most 50 are allowed")]
    TooManyAttributes {
        /// The number of attribute columns.
        columns: usize,
    },
    /// Control characters show that the delivery is not a text.
    #[error("the file is neither text nor a workbook, and is not compressed with gzip or zip")]
    NotText,
    /// The delivery has a format that is not supported.
    #[error(
        "the file is {name}; send a CSV file or a workbook (XLSX, ODS or XLS), optionally compressed with gzip or zip"
    )]
    OtherFormat {
        /// The name of the format, with an article or a verb.
        name: &'static str,
    },
    /// The workbook has the format of Excel before 1997.
    #[error("the file is a workbook of Excel 95 or before; save it as XLSX")]
    OldWorkbook,
    /// The workbook is encrypted.
    #[error("the workbook has a password; save it without one")]
    PasswordProtected,
    /// The rows of the workbook are not stored in the order of their numbers.
    #[error(
        "the rows of the workbook are stored out of order; open it in a spreadsheet program and save it again"
    )]
    UnorderedRows,
    /// All rows of the sheet are hidden, apart from a header.
    #[error("all rows of the sheet are hidden; show the rows that are to be imported")]
    AllHidden,
    /// The caller announced gzip, but the delivery is not packed with it.
    #[error("Content-Encoding is gzip, but the body is not compressed with gzip")]
    NotGzip,
    /// Packages are nested too deeply.
    #[error("the file is compressed too many times; unpack it first")]
    PackedTooOften,
    /// The gzip data end before the end of a member.
    #[error("the gzip data end too early; the file is incomplete, so send it again")]
    CutShort,
    /// The format is malformed, or a checksum is wrong.
    #[error("the {what} is damaged")]
    Damaged {
        /// The name of the format.
        what: &'static str,
    },
    /// The zip archive has no central directory.
    #[error(
        "the zip archive has no directory at its end; it is damaged or incomplete, so send the complete file"
    )]
    NoDirectory,
    /// The central directory of the zip archive is larger than its limit.
    #[error("the zip archive contains too many files")]
    TooManyFiles,
    /// The zip archive holds no file, apart from hidden ones.
    #[error("the zip archive contains no file")]
    EmptyArchive,
    /// The zip archive holds more than one file.
    #[error(
        "the zip archive contains {} files, but only one can be imported; send one of {}",
        files.len(),
        NameList(files)
    )]
    SeveralFiles {
        /// The names of the files.
        files: Vec<String>,
    },
    /// The file in the zip archive is encrypted.
    #[error("{name:?} in the zip archive is encrypted; compress it without a password")]
    Encrypted {
        /// The name of the file.
        name: String,
    },
    /// The file in the zip archive is packed with an unsupported method.
    #[error(
        "{name:?} in the zip archive is compressed with an unsupported method; use the usual method (deflate)"
    )]
    UnknownMethod {
        /// The name of the file.
        name: String,
    },
    /// All sheets of the workbook are hidden, or it has none.
    #[error("the workbook has no sheet with rows")]
    NoSheet,
    /// An option names a sheet that does not exist.
    #[error(
        "the sheet {wanted:?} does not exist; the workbook has {}",
        NameList(sheets)
    )]
    NoSuchSheet {
        /// The name of the option.
        wanted: String,
        /// The names of the sheets that are not hidden.
        sheets: Vec<String>,
    },
    /// An option names a sheet, but the delivery is not a workbook.
    #[error("the file is not a workbook, so it has no sheet {wanted:?}")]
    NotAWorkbook {
        /// The name of the option.
        wanted: String,
    },
    /// The unpacked bytes exceed a limit.
    #[error("the unpacked file has more than {limit} bytes")]
    UnpackedTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file of the workbook exceeds its limit.
    #[error("a workbook can have at most {limit} bytes; save it as CSV")]
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

/// States the limit of columns after a list of as many, because the table may have more.
struct ColumnLimit<'a>(&'a [String]);

impl fmt::Display for ColumnLimit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() < MAX_COLUMNS {
            return Ok(());
        }
        write!(
            f,
            "; a table can have at most {MAX_COLUMNS} columns, and any further ones are ignored"
        )
    }
}
