//! A delivery as a whole: opens its file and reads its rows.

use std::{fs::File, io::Read, time::Duration};

use encoding_rs::UTF_8;
use serde::Serialize;

use crate::{
    DeliveryFault, ReadError, Row, RowRules, TableLayout, TableOptions, csv,
    encoding::{self, DetectedEncoding, Utf8Reader},
    json::read_json,
    limits::{Limits, MAX_WORKBOOK_BYTES, MAX_WORKBOOK_UNPACKED, WorkbookPermit},
    list::read_list,
    sample::ambiguous_code_column,
    sample_source::{SampleSource, SampleText},
    table::read_table,
    unpack::{Content, PackedFile, unpack},
    warning::Warning,
    workbook::{Workbook, WorkbookFile},
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
        encoding: DetectedEncoding,
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
    /// Reasons why the rows may not be what the sender meant.
    pub warnings: Vec<Warning>,
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
                    TextFormat::Json => DetectedEncoding::certain(UTF_8),
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
            Content::Workbook(file) => {
                let (workbook, permit) = open_workbook(file, options, limits)?;
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
                encoding: DetectedEncoding { encoding, guessed },
            } => {
                let text = Utf8Reader::new(packed.open(), encoding);
                let table = match format {
                    TextFormat::Csv => Some(read_csv(text, options, rules, sink)?),
                    TextFormat::List => read_list(text, rules, sink).map(|()| None)?,
                    TextFormat::Json => read_json(text, rules, sink).map(|()| None)?,
                };
                let mut warnings = Vec::new();
                if guessed {
                    warnings.push(Warning::encoding_guessed(encoding.name()));
                }
                if table.is_some() {
                    let text = SampleText::read(&packed, true, Some(encoding))?;
                    let sample = &mut SampleSource::Text(text);
                    warnings.extend(ambiguous_code_column(sample, options)?);
                }
                Ok(DeliveryLayout {
                    encoding: (encoding != UTF_8).then(|| encoding.name()),
                    sheet: None,
                    table,
                    warnings,
                })
            }
            Payload::Workbook { mut workbook, .. } => {
                let mut rows = workbook.rows()?;
                let table = read_table(&mut rows, None, options, rules, sink);
                let hidden = rows.hidden();
                let table = table.map_err(|error| match error {
                    ReadError::Fault(DeliveryFault::Empty | DeliveryFault::OnlyHeader)
                        if hidden > 0 =>
                    {
                        DeliveryFault::AllHidden.into()
                    }
                    error => error,
                })?;
                let mut warnings = Vec::from_iter(Warning::hidden_rows(hidden));
                let sample = &mut SampleSource::Workbook(&mut workbook);
                warnings.extend(ambiguous_code_column(sample, options)?);
                Ok(DeliveryLayout {
                    encoding: None,
                    sheet: Some(workbook.sheet().to_owned()),
                    table: Some(table),
                    warnings,
                })
            }
        }
    }
}

/// Waits for a permit and opens a workbook.
pub(crate) fn open_workbook<E>(
    file: WorkbookFile,
    options: &TableOptions,
    limits: &Limits,
) -> Result<(Workbook, WorkbookPermit), ReadError<E>> {
    let permit = limits
        .workbooks
        .acquire(PERMIT_TIMEOUT)
        .ok_or(ReadError::Busy)?;
    let sizes = (MAX_WORKBOOK_BYTES, MAX_WORKBOOK_UNPACKED);
    let workbook = Workbook::open(file, options.sheet.as_deref(), sizes)?;
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
