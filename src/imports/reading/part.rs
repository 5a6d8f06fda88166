//! The first part of a delivery, read as far as it goes and as often as it takes.

use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{
    Delimiter, Fault, ReadError, TableOptions,
    csv::{self, CsvRecords},
    encoding::{self, Decoded},
    fault_of,
    sheet::SheetRows,
    table::{Record, Records},
    unpack::Packed,
    workbook::Workbook,
};
use crate::http::error::Error;

/// The bytes of a text that are looked at; what is packed may hold far more.
const TEXT_BYTES: usize = 1024 * 1024;

/// The rows of a sheet that are looked at.
const SHEET_ROWS: usize = 10_000;

/// The text of a part, as UTF-8.
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    pub(super) encoding: &'static Encoding,
    pub(super) guessed: bool,
    /// Its last row may be cut.
    pub(super) cut: bool,
}

impl Text {
    pub(super) fn read(
        packed: &Packed,
        whole: bool,
        told: Option<&'static Encoding>,
    ) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut input = packed.open().take(TEXT_BYTES as u64 + 1);
        let ended = match input.read_to_end(&mut bytes) {
            Ok(_) => bytes.len() <= TEXT_BYTES,
            Err(error) if !whole && matches!(fault_of(&error), Some(Fault::CutShort)) => false,
            Err(error) => return Err(error),
        };
        bytes.truncate(TEXT_BYTES);
        let cut = !(whole && ended);
        // A character may be cut at the end, but not at the last line break.
        let lines = bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        let certain = match lines {
            Some(end) if cut => &bytes[..end & !1],
            _ => &bytes[..],
        };
        let encoding = encoding::detect(certain, told)?;
        let has_mark = Encoding::for_bom(&bytes).is_some();
        let certain = [UTF_8, UTF_16LE, UTF_16BE].contains(&encoding);
        let guessed = told.is_none() && !has_mark && !certain;
        let mut text = Vec::with_capacity(bytes.len());
        Decoded::new(&bytes[..], encoding).read_to_end(&mut text)?;
        let cut = cut && !text.ends_with(b"\n") && !text.ends_with(b"\r");
        Ok(Self {
            bytes: text,
            encoding,
            guessed,
            cut,
        })
    }
}

/// Where the records come from, as often as they are read.
pub(super) enum Source {
    Text(Text),
    Workbook(Box<Workbook>),
}

/// How far a part is looked at.
pub(super) struct Extent {
    pub(super) records: usize,
    pub(super) complete: bool,
    /// The line of a quote that is not closed.
    pub(super) unclosed: Option<u32>,
}

impl Source {
    /// So many of the records.
    pub(super) fn rows(
        &mut self,
        options: &TableOptions,
        records: usize,
    ) -> Result<(First<'_>, Option<Delimiter>), ReadError<Error>> {
        let (rows, delimiter) = match self {
            Self::Text(text) => {
                let (rows, delimiter) =
                    csv::open(&text.bytes[..], options.delimiter, &options.told())?;
                (Rows::Csv(Box::new(rows)), delimiter)
            }
            Self::Workbook(workbook) => (Rows::Sheet(Box::new(workbook.rows()?)), None),
        };
        let left = records;
        Ok((First { rows, left }, delimiter))
    }

    pub(super) fn measure(&mut self, options: &TableOptions) -> Result<Extent, ReadError<Error>> {
        let (cut, most) = match self {
            Self::Text(text) => (text.cut, usize::MAX),
            Self::Workbook(_) => (false, SHEET_ROWS),
        };
        let (mut rows, _) = self.rows(options, most)?;
        let (mut records, mut unclosed) = (0, None);
        loop {
            match rows.next::<Error>(|_, _| ()) {
                Ok(Some(_)) => records += 1,
                Ok(None) => break,
                Err(ReadError::UnclosedQuote { line }) => {
                    unclosed = Some(line);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let leave_out = cut && unclosed.is_none() && records > 1;
        Ok(Extent {
            complete: !cut && unclosed.is_none() && records < most,
            records: records - usize::from(leave_out),
            unclosed,
        })
    }
}

enum Rows<'s> {
    Csv(Box<CsvRecords<&'s [u8]>>),
    Sheet(Box<SheetRows<'s>>),
}

/// The first records of a table.
pub(super) struct First<'s> {
    rows: Rows<'s>,
    left: usize,
}

impl Records for First<'_> {
    fn next<E>(&mut self, keep: impl FnMut(usize, &[u8])) -> Result<Option<Record>, ReadError<E>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match &mut self.rows {
            Rows::Csv(rows) => rows.next(keep),
            Rows::Sheet(rows) => rows.next(keep),
        }
    }
}
