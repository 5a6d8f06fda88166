//! A delivery as a whole: what is in the file that came, and its rows.

use std::{fs::File, io::Read, time::Duration};

use encoding_rs::{Encoding, UTF_8};
use serde::Serialize;

use super::{
    Fault, ReadError, Row, Rules, TableLayout, TableOptions,
    archive::Archive,
    csv,
    encoding::{self, Decoded},
    json::read_json,
    list::read_list,
    table::read_table,
    unpack::{Content, Packed, unpack},
    workbook::Workbook,
};
use crate::imports::limits::{Limits, MAX_WORKBOOK_BYTES, MAX_WORKBOOK_UNPACKED, Turn};

/// How long a workbook waits for its turn, which is as long as an upload waits for its own.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// What the text of a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Format {
    Csv,
    List,
    Json,
}

/// What the caller says of the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) format: Format,
    /// The body as a whole is packed with gzip.
    pub(crate) gzip: bool,
}

/// A delivery whose text or workbook was found.
pub(crate) struct Delivery(Found);

enum Found {
    Text {
        packed: Packed,
        format: Format,
        encoding: &'static Encoding,
    },
    /// One is read at a time.
    Workbook { workbook: Workbook, _turn: Turn },
}

/// How a delivery was read.
#[derive(Debug)]
pub(crate) struct Understood {
    /// The encoding of a text, if it is not UTF-8.
    pub(crate) encoding: Option<&'static str>,
    /// The sheet of a workbook.
    pub(crate) sheet: Option<String>,
    /// None of a list and of JSON.
    pub(crate) table: Option<TableLayout>,
}

impl Delivery {
    /// Looks into a file; its text is read to the end for its encoding.
    pub(crate) fn open<E>(
        file: File,
        claim: Claim,
        options: &TableOptions,
        limits: &Limits,
    ) -> Result<Self, ReadError<E>> {
        match unpack(file, claim.gzip, limits)? {
            Content::Text(_) if options.sheet.is_some() => Err(Fault::NotAWorkbook {
                wanted: options.sheet.clone().unwrap_or_default(),
            }
            .into()),
            Content::Text(packed) => {
                let encoding = match claim.format {
                    // By its definition.
                    Format::Json => UTF_8,
                    Format::Csv | Format::List => {
                        encoding::detect(packed.open(), options.encoding)?
                    }
                };
                Ok(Self(Found::Text {
                    packed,
                    format: claim.format,
                    encoding,
                }))
            }
            Content::Workbook(archive) => {
                let (workbook, turn) = open_workbook(archive, options, limits)?;
                Ok(Self(Found::Workbook {
                    workbook,
                    _turn: turn,
                }))
            }
        }
    }

    /// Pushes each row into the sink.
    pub(crate) fn read<E>(
        self,
        options: &TableOptions,
        rules: Rules,
        sink: &mut impl FnMut(Row) -> Result<(), E>,
    ) -> Result<Understood, ReadError<E>> {
        match self.0 {
            Found::Text {
                packed,
                format,
                encoding,
            } => {
                let text = Decoded::new(packed.open(), encoding);
                let table = match format {
                    Format::Csv => Some(read_csv(text, options, rules, sink)?),
                    Format::List => read_list(text, rules, sink).map(|()| None)?,
                    Format::Json => read_json(text, rules, sink).map(|()| None)?,
                };
                Ok(Understood {
                    encoding: (encoding != UTF_8).then(|| encoding.name()),
                    sheet: None,
                    table,
                })
            }
            Found::Workbook { mut workbook, .. } => {
                let table = read_table(&mut workbook.rows()?, None, options, rules, sink)?;
                Ok(Understood {
                    encoding: None,
                    sheet: Some(workbook.sheet().to_owned()),
                    table: Some(table),
                })
            }
        }
    }
}

/// Opens a workbook when it is its turn.
pub(super) fn open_workbook<E>(
    archive: Archive,
    options: &TableOptions,
    limits: &Limits,
) -> Result<(Workbook, Turn), ReadError<E>> {
    let turn = limits.workbooks.take(TURN_LIMIT).ok_or(ReadError::Busy)?;
    let sizes = (MAX_WORKBOOK_BYTES, MAX_WORKBOOK_UNPACKED);
    let workbook = Workbook::open(archive, options.sheet.as_deref(), sizes)?;
    Ok((workbook, turn))
}

/// Pushes each row of a CSV file that is not blank into the sink.
pub(super) fn read_csv<E>(
    input: impl Read,
    options: &TableOptions,
    rules: Rules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<TableLayout, ReadError<E>> {
    let (mut records, delimiter) = csv::open(input, options.delimiter, &options.told())?;
    read_table(&mut records, delimiter, options, rules, sink)
}
