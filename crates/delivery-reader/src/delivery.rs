//! A delivery as a whole: opens its file and reads its rows.

use std::{fs::File, io::Read, time::Duration};

use encoding_rs::{Encoding, UTF_8};
use serde::Serialize;

use crate::{
    DeliveryFault, ReadError, Row, RowRules, TableLayout, TableOptions,
    archive::Archive,
    csv,
    encoding::{self, Utf8Reader},
    json::read_json,
    limits::{Limits, MAX_WORKBOOK_BYTES, MAX_WORKBOOK_UNPACKED, WorkbookPermit},
    list::read_list,
    table::read_table,
    unpack::{Content, PackedFile, unpack},
    workbook::Workbook,
};

/// Time to wait for the permit to read a workbook.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Format of the text of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TextFormat {
    /// Rows of columns with a delimiter between them. A workbook in place of the text is detected.
    Csv,
    /// Codes separated by line breaks, commas, semicolons, tabs and blanks.
    List,
    /// `{"codes": ["A", {"code": "B", "expiresAt": "2026-12-31"}]}`
    Json,
}

/// The format and packing that the caller announces. Packing and workbooks are detected without it.
#[derive(Debug, Clone, Copy)]
pub struct ContentTypeHint {
    /// Format of the text.
    pub format: TextFormat,
    /// The delivery must be packed with gzip, as `Content-Encoding: gzip` says.
    pub gzip: bool,
}

/// An open delivery: its text or workbook was found in the file.
pub struct DeliveryReader(Payload);

enum Payload {
    Text {
        packed: PackedFile,
        format: TextFormat,
        encoding: &'static Encoding,
    },
    Workbook {
        workbook: Workbook,
        _permit: WorkbookPermit,
    },
}

/// Layout of a delivery, as options named it or as it was detected.
#[derive(Debug)]
pub struct DeliveryLayout {
    /// The encoding of a text, if it is not UTF-8.
    pub encoding: Option<&'static str>,
    /// The name of the sheet, if it is a workbook.
    pub sheet: Option<String>,
    /// `None` for a list and for JSON.
    pub table: Option<TableLayout>,
}

impl DeliveryReader {
    /// Opens a file. A text is read to its end to detect its encoding; a workbook waits for a permit.
    pub fn open<E>(
        file: File,
        hint: ContentTypeHint,
        options: &TableOptions,
        limits: &Limits,
    ) -> Result<Self, ReadError<E>> {
        match unpack(file, hint.gzip, limits)? {
            Content::Text(_) if options.sheet.is_some() => Err(DeliveryFault::NotAWorkbook {
                wanted: options.sheet.clone().unwrap_or_default(),
            }
            .into()),
            Content::Text(packed) => {
                let encoding = match hint.format {
                    // RFC 8259.
                    TextFormat::Json => UTF_8,
                    TextFormat::Csv | TextFormat::List => {
                        encoding::detect(packed.open(), options.encoding)?
                    }
                };
                Ok(Self(Payload::Text {
                    packed,
                    format: hint.format,
                    encoding,
                }))
            }
            Content::Workbook(archive) => {
                let (workbook, permit) = open_workbook(archive, options, limits)?;
                Ok(Self(Payload::Workbook {
                    workbook,
                    _permit: permit,
                }))
            }
        }
    }

    /// Pushes each row that is not blank into the sink.
    pub fn read<E>(
        self,
        options: &TableOptions,
        rules: RowRules,
        sink: &mut impl FnMut(Row) -> Result<(), E>,
    ) -> Result<DeliveryLayout, ReadError<E>> {
        match self.0 {
            Payload::Text {
                packed,
                format,
                encoding,
            } => {
                let text = Utf8Reader::new(packed.open(), encoding);
                let table = match format {
                    TextFormat::Csv => Some(read_csv(text, options, rules, sink)?),
                    TextFormat::List => read_list(text, rules, sink).map(|()| None)?,
                    TextFormat::Json => read_json(text, rules, sink).map(|()| None)?,
                };
                Ok(DeliveryLayout {
                    encoding: (encoding != UTF_8).then(|| encoding.name()),
                    sheet: None,
                    table,
                })
            }
            Payload::Workbook { mut workbook, .. } => {
                let table = read_table(&mut workbook.rows()?, None, options, rules, sink)?;
                Ok(DeliveryLayout {
                    encoding: None,
                    sheet: Some(workbook.sheet().to_owned()),
                    table: Some(table),
                })
            }
        }
    }
}

/// Waits for a permit and opens a workbook.
pub(crate) fn open_workbook<E>(
    archive: Archive,
    options: &TableOptions,
    limits: &Limits,
) -> Result<(Workbook, WorkbookPermit), ReadError<E>> {
    let permit = limits
        .workbooks
        .acquire(PERMIT_TIMEOUT)
        .ok_or(ReadError::Busy)?;
    let sizes = (MAX_WORKBOOK_BYTES, MAX_WORKBOOK_UNPACKED);
    let workbook = Workbook::open(archive, options.sheet.as_deref(), sizes)?;
    Ok((workbook, permit))
}

/// Pushes each row of a CSV file that is not blank into the sink.
pub(crate) fn read_csv<E>(
    input: impl Read,
    options: &TableOptions,
    rules: RowRules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<TableLayout, ReadError<E>> {
    let (mut records, delimiter) =
        csv::open(input, options.delimiter, &options.column_selection())?;
    read_table(&mut records, delimiter, options, rules, sink)
}
