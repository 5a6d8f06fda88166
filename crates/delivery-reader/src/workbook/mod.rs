//! Workbooks of spreadsheet programs: XLSX, ODS and XLS.
//!
//! Rows are streamed, and cells are read as a spreadsheet program shows them. No declared size is trusted, so the memory is
//! bounded by the strings that XLSX and XLS store apart from the rows. Hidden rows, such as those that a filter hides, are
//! skipped and counted, because the sender does not see them.
//!
//! The calamine crate is not used, for three reasons. Its cells do not show their number format, so a code `00042` that is
//! stored as the number 42 with the format `00000` would be read as `42`. Its ranges hold all cells of a sheet in memory,
//! those of repeated rows and columns included. It has no limit for the bytes that a part unpacks to, so a small file could
//! exhaust the memory.

mod biff;
mod ods;
mod xls;
mod xlsx;
mod xlsx_rows;

use std::{fs::File, io, sync::Arc};

use crate::{
    DeliveryFault, ReadError,
    archive::Archive,
    code::printable,
    table::{Record, Records},
};

/// Most sheets, and most relationships.
const MAX_SHEETS: usize = 10_000;
/// Longest name of a sheet or part, in bytes; Excel allows 31 characters.
const MAX_NAME_BYTES: usize = 1024;
/// Most columns of a sheet, in Excel and elsewhere.
const MAX_COLUMNS: usize = 16_384;
/// Most cell formats; the limit of Excel.
const MAX_CELL_FORMATS: usize = 65_490;
/// Most shared strings. A sheet of Excel has 1,000 times as many cells, but each string is stored once.
const MAX_STRINGS: usize = 16_000_000;

pub(crate) const DAMAGED: DeliveryFault = DeliveryFault::Damaged { what: "workbook" };

/// The file of a workbook, with its format.
#[derive(Debug)]
pub(crate) enum WorkbookFile {
    Xlsx(Archive),
    Ods(Archive),
    Xls(Arc<File>),
}

/// A worksheet.
struct Sheet {
    name: String,
    hidden: bool,
}

/// A workbook with its chosen sheet.
pub(crate) struct Workbook {
    content: WorkbookContent,
    sheets: Vec<Sheet>,
    chosen: usize,
}

enum WorkbookContent {
    Xlsx(xlsx::Xlsx),
    Ods(ods::Ods),
    Xls(xls::Xls),
}

impl Workbook {
    /// Opens a workbook at the named sheet, or at the first that is not hidden.
    pub(crate) fn open(
        file: WorkbookFile,
        sheet: Option<&str>,
        (packed, unpacked): (u64, u64),
    ) -> io::Result<Self> {
        let size = match &file {
            WorkbookFile::Xlsx(archive) | WorkbookFile::Ods(archive) => archive.file.metadata()?,
            WorkbookFile::Xls(file) => file.metadata()?,
        };
        if size.len() > packed {
            return Err(DeliveryFault::WorkbookTooLarge { limit: packed }.into());
        }
        let (content, sheets) = match file {
            WorkbookFile::Xlsx(archive) => {
                let (workbook, sheets) = xlsx::Xlsx::open(archive, unpacked)?;
                (WorkbookContent::Xlsx(workbook), sheets)
            }
            WorkbookFile::Ods(archive) => {
                let (workbook, sheets) = ods::Ods::open(archive, unpacked)?;
                (WorkbookContent::Ods(workbook), sheets)
            }
            WorkbookFile::Xls(file) => {
                let (workbook, sheets) = xls::Xls::open(&file)?;
                (WorkbookContent::Xls(workbook), sheets)
            }
        };
        let chosen = choose(&sheets, sheet)?;
        Ok(Self {
            content,
            sheets,
            chosen,
        })
    }

    /// The name of the format in a preview.
    pub(crate) fn format(&self) -> &'static str {
        match self.content {
            WorkbookContent::Xlsx(_) => "xlsx",
            WorkbookContent::Ods(_) => "ods",
            WorkbookContent::Xls(_) => "xls",
        }
    }

    /// The name of the chosen sheet.
    pub(crate) fn sheet(&self) -> &str {
        &self.sheets[self.chosen].name
    }

    /// The names of the sheets that are not hidden.
    pub(crate) fn sheets(&self) -> impl Iterator<Item = &str> {
        shown(&self.sheets)
    }

    /// Reads the rows of the chosen sheet, from the first.
    pub(crate) fn rows(&mut self) -> io::Result<SheetRows<'_>> {
        let chosen = self.chosen;
        Ok(match &mut self.content {
            WorkbookContent::Xlsx(workbook) => SheetRows::Xlsx(workbook.rows(chosen)?),
            WorkbookContent::Ods(workbook) => SheetRows::Ods(workbook.rows(chosen)?),
            WorkbookContent::Xls(workbook) => SheetRows::Xls(workbook.rows(chosen)?),
        })
    }
}

fn shown(sheets: &[Sheet]) -> impl Iterator<Item = &str> {
    let shown = sheets.iter().filter(|sheet| !sheet.hidden);
    shown.map(|sheet| sheet.name.as_str())
}

fn choose(sheets: &[Sheet], wanted: Option<&str>) -> io::Result<usize> {
    let position = |fits: &dyn Fn(&Sheet) -> bool| sheets.iter().position(fits);
    match wanted {
        None => position(&|sheet| !sheet.hidden).ok_or_else(|| DeliveryFault::NoSheet.into()),
        Some(wanted) => position(&|sheet| sheet.name == wanted)
            .or_else(|| {
                position(&|sheet| sheet.name.to_lowercase() == wanted.trim().to_lowercase())
            })
            .ok_or_else(|| {
                DeliveryFault::NoSuchSheet {
                    wanted: printable(wanted),
                    sheets: shown(sheets).map(printable).collect(),
                }
                .into()
            }),
    }
}

/// Adds a sheet to the list. Fails if there are too many, or if its name is too long.
fn add_sheet(sheets: &mut Vec<Sheet>, name: String, hidden: bool) -> io::Result<()> {
    if sheets.len() == MAX_SHEETS || name.len() > MAX_NAME_BYTES {
        return Err(DAMAGED.into());
    }
    sheets.push(Sheet { name, hidden });
    Ok(())
}

/// Iterates over the rows of a sheet that are neither blank nor hidden.
pub(crate) enum SheetRows<'w> {
    Xlsx(xlsx_rows::XlsxRows<'w>),
    Ods(ods::OdsRows),
    Xls(xls::XlsRows<'w>),
}

impl SheetRows<'_> {
    /// The number of rows that were skipped because they are hidden.
    pub(crate) fn hidden(&self) -> usize {
        match self {
            Self::Xlsx(rows) => rows.hidden,
            Self::Ods(rows) => rows.hidden,
            Self::Xls(rows) => rows.hidden,
        }
    }
}

impl Records for SheetRows<'_> {
    fn next<E>(&mut self, keep: impl FnMut(usize, &[u8])) -> Result<Option<Record>, ReadError<E>> {
        match self {
            Self::Xlsx(rows) => rows.next(keep),
            Self::Ods(rows) => rows.next(keep),
            Self::Xls(rows) => rows.next(keep),
        }
    }
}

/// Makes the record of a row in which the last filled column is `columns`, counted from 1. `None` if the row is blank. A row
/// with nothing but the error of a formula is not.
fn record(line: u32, columns: usize) -> Option<Record> {
    (columns > 0).then_some(Record {
        line,
        columns: columns.max(2),
    })
}

/// Strings in one buffer, so that a million empty ones take little memory.
#[derive(Default)]
struct SharedStrings {
    text: String,
    ends: Vec<usize>,
}

impl SharedStrings {
    /// Adds a string. Fails if there are too many.
    fn push(&mut self, text: &str) -> io::Result<()> {
        if self.ends.len() == MAX_STRINGS {
            return Err(DAMAGED.into());
        }
        self.text.push_str(text);
        self.ends.push(self.text.len());
        Ok(())
    }

    fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }
}
