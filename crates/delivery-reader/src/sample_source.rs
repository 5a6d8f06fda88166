//! The first part of a delivery, which a preview reads several times.

use std::io::{self, Read};

use encoding_rs::Encoding;

use crate::{
    Delimiter, DeliveryFault, ReadError, TableOptions,
    csv::{self, CsvRecords},
    encoding::{self, DetectedEncoding, Utf8Reader},
    fault_of,
    table::{Record, Records},
    unpack::PackedFile,
    workbook::{SheetRows, Workbook},
};

/// Most bytes of a text that are read; a package may hold far more.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Most rows of a sheet that are read.
const MAX_SHEET_ROWS: usize = 10_000;

/// The first part of a text, as UTF-8.
pub(crate) struct SampleText {
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoding: &'static Encoding,
    /// The encoding was guessed from the letters.
    pub(crate) guessed: bool,
    /// The last row may be truncated.
    pub(crate) truncated: bool,
}

impl SampleText {
    pub(crate) fn read(
        packed: &PackedFile,
        whole: bool,
        declared: Option<&'static Encoding>,
    ) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut input = packed.open().take(MAX_TEXT_BYTES as u64 + 1);
        let ended = match input.read_to_end(&mut bytes) {
            Ok(_) => bytes.len() <= MAX_TEXT_BYTES,
            Err(error) if !whole && matches!(fault_of(&error), Some(DeliveryFault::CutShort)) => {
                false
            }
            Err(error) => return Err(error),
        };
        bytes.truncate(MAX_TEXT_BYTES);
        let truncated = !(whole && ended);
        // A character may be truncated at the end, but not at the last line break.
        let lines = bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        let certain = match lines {
            Some(end) if truncated => &bytes[..end & !1],
            _ => &bytes[..],
        };
        let DetectedEncoding { encoding, guessed } = encoding::detect(certain, declared)?;
        let mut text = Vec::with_capacity(bytes.len());
        Utf8Reader::new(&bytes[..], encoding).read_to_end(&mut text)?;
        let truncated = truncated && !text.ends_with(b"\n") && !text.ends_with(b"\r");
        Ok(Self {
            bytes: text,
            encoding,
            guessed,
            truncated,
        })
    }
}

/// A source of records that can be read several times.
pub(crate) enum SampleSource<'w> {
    Text(SampleText),
    Workbook(&'w mut Workbook),
}

/// Extent of the part that is read.
pub(crate) struct Extent {
    pub(crate) records: usize,
    pub(crate) complete: bool,
    /// The line of a quote that is not closed in this part.
    pub(crate) unclosed: Option<u32>,
    /// The number of hidden rows of a sheet.
    pub(crate) hidden: usize,
}

impl SampleSource<'_> {
    /// Iterates over the first records, at most `records` of them.
    pub(crate) fn rows<E>(
        &mut self,
        options: &TableOptions,
        records: usize,
    ) -> Result<(FirstRecords<'_>, Option<Delimiter>), ReadError<E>> {
        let (rows, delimiter) = match self {
            Self::Text(text) => {
                let (rows, delimiter) = csv::open(
                    &text.bytes[..],
                    options.delimiter,
                    &options.column_selection(),
                )?;
                (SampleRows::Csv(Box::new(rows)), delimiter)
            }
            Self::Workbook(workbook) => (SampleRows::Sheet(Box::new(workbook.rows()?)), None),
        };
        let left = records;
        Ok((FirstRecords { rows, left }, delimiter))
    }

    /// Counts the records, without one that may be truncated.
    pub(crate) fn measure<E>(&mut self, options: &TableOptions) -> Result<Extent, ReadError<E>> {
        let (truncated, most) = match self {
            Self::Text(text) => (text.truncated, usize::MAX),
            Self::Workbook(_) => (false, MAX_SHEET_ROWS),
        };
        let (mut rows, _) = self.rows(options, most)?;
        let (mut records, mut unclosed) = (0, None);
        loop {
            match rows.next(|_, _| ()) {
                Ok(Some(_)) => records += 1,
                Ok(None) => break,
                Err(ReadError::UnclosedQuote { line }) => {
                    unclosed = Some(line);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let leave_out = truncated && unclosed.is_none() && records > 1;
        Ok(Extent {
            complete: !truncated && unclosed.is_none() && records < most,
            records: records - usize::from(leave_out),
            unclosed,
            hidden: match &rows.rows {
                SampleRows::Csv(_) => 0,
                SampleRows::Sheet(rows) => rows.hidden(),
            },
        })
    }
}

enum SampleRows<'s> {
    Csv(Box<CsvRecords<&'s [u8]>>),
    Sheet(Box<SheetRows<'s>>),
}

/// The first records of a table.
pub(crate) struct FirstRecords<'s> {
    rows: SampleRows<'s>,
    left: usize,
}

impl Records for FirstRecords<'_> {
    fn next<E>(&mut self, keep: impl FnMut(usize, &[u8])) -> Result<Option<Record>, ReadError<E>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match &mut self.rows {
            SampleRows::Csv(rows) => rows.next(keep),
            SampleRows::Sheet(rows) => rows.next(keep),
        }
    }
}
