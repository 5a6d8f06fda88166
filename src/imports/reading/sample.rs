//! What the first part of a delivery shows: its layout, its columns, and what an import of it would complain about.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read},
};

use encoding_rs::{Encoding, UTF_8};
use serde::Serialize;

use super::{
    Claim, Delimiter, Fault, Format, ReadError, Rules, TableOptions,
    code::{Cell, printable},
    column::Column,
    csv::{self, CsvRecords},
    delivery::open_workbook,
    encoding::{self, Decoded},
    fault_of, header,
    list::{self, read_list},
    sheet::SheetRows,
    table::{Record, Records, read_table},
    unpack::{Content, Packed, Packing, unpack},
    workbook::Workbook,
};
use crate::{error::Error, imports::limits::Limits};

/// The bytes of a text that are looked at; what is packed may hold far more.
const TEXT_BYTES: usize = 1024 * 1024;

/// The rows of a sheet that are looked at.
const SHEET_ROWS: usize = 10_000;

/// The lines that a warning names.
const LINES: usize = 5;

/// Two columns whose confidence differs by less are hard to tell apart.
const CLOSE: f64 = 0.1;

type Failure = ReadError<Error>;

/// What the first part of a delivery shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    format: &'static str,
    packing: Option<&'static str>,
    encoding: Option<&'static str>,
    delimiter: Option<&'static str>,
    header: bool,
    sheet: Option<String>,
    sheets: Option<Vec<String>>,
    /// Rows that were looked at, without the header.
    rows: usize,
    /// Nothing was left out.
    complete: bool,
    columns: Vec<ColumnSample>,
    code_column: Option<Guess>,
    warnings: Vec<Warning>,
}

/// What a preview shows of a column.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ColumnSample {
    /// From 1.
    number: usize,
    name: Option<String>,
    samples: Vec<String>,
    filled: usize,
    unique: usize,
    confidence: f64,
}

/// The likeliest code column.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Guess {
    number: usize,
    name: Option<String>,
    confidence: f64,
}

/// What an import would complain about.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning {
    kind: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<u32>,
}

impl Warning {
    fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            count: None,
            lines: Vec::new(),
        }
    }
}

/// Looks at the first part of a delivery; `whole` says that it is all of it.
pub(crate) fn sample(
    file: File,
    claim: Claim,
    whole: bool,
    options: &TableOptions,
    rules: Rules,
    limits: &Limits,
) -> Result<Sample, Failure> {
    match unpack(file, claim.gzip, limits.unpacked)? {
        Content::Text(_) if options.sheet.is_some() => Err(Fault::NotAWorkbook {
            wanted: options.sheet.clone().unwrap_or_default(),
        }
        .into()),
        Content::Text(packed) => {
            let text = Text::read(&packed, whole, options.encoding)?;
            let packing = match packed.packing {
                Packing::Plain => None,
                Packing::Gzip => Some("gzip"),
                Packing::Zip(_) => Some("zip"),
            };
            let mut warnings = Vec::new();
            if text.guessed {
                let name = text.encoding.name();
                warnings.push(Warning::new(
                    "encodingGuessed",
                    format!("The text is not UTF-8. It was read as {name}; pass encoding if the samples look wrong."),
                ));
            }
            let encoding = text.encoding.name();
            let sample = if claim.format == Format::List {
                sample_list(&text, rules)?
            } else {
                sample_table(&mut Source::Text(text), options, rules)?
            };
            warnings.extend(sample.warnings);
            Ok(Sample {
                packing,
                encoding: Some(encoding),
                warnings,
                ..sample
            })
        }
        Content::Workbook(archive) => {
            let (workbook, _turn) = open_workbook(archive, options, limits)?;
            let sheet = workbook.sheet().to_owned();
            let sheets = workbook.sheets().map(str::to_owned).collect();
            let sample = sample_table(&mut Source::Workbook(Box::new(workbook)), options, rules)?;
            Ok(Sample {
                format: "xlsx",
                sheet: Some(sheet),
                sheets: Some(sheets),
                ..sample
            })
        }
    }
}

/// The text of a part, as UTF-8.
struct Text {
    bytes: Vec<u8>,
    encoding: &'static Encoding,
    guessed: bool,
    /// Its last row may be cut.
    cut: bool,
}

impl Text {
    fn read(packed: &Packed, whole: bool, told: Option<&'static Encoding>) -> io::Result<Self> {
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
        let guessed = told.is_none() && !has_mark && encoding != UTF_8;
        let mut text = Vec::with_capacity(bytes.len());
        Decoded::new(&bytes[..], encoding).read_to_end(&mut text)?;
        let cut = cut && !text.ends_with(b"\n") && !text.ends_with(b"\r");
        Ok(Self {
            bytes: text,
            encoding,
            guessed: guessed
                && encoding != encoding_rs::UTF_16LE
                && encoding != encoding_rs::UTF_16BE,
            cut,
        })
    }
}

fn sample_list(text: &Text, rules: Rules) -> Result<Sample, Failure> {
    let bytes = &text.bytes[..];
    // The last code may be cut, unless it is the only one.
    let end = bytes.iter().rposition(|byte| list::separates(*byte));
    let bytes = match end {
        Some(end) if text.cut && end > 0 => &bytes[..end],
        _ => bytes,
    };
    let (mut column, mut complaints) = (Column::default(), Complaints::default());
    let mut rows = 0;
    read_list(bytes, rules, &mut |row| {
        rows += 1;
        if let Ok(code) = &row.code {
            column.add(code);
        }
        complaints.add(row);
        Ok(())
    })?;
    let confidence = column.confidence(None, rows, true);
    Ok(Sample {
        format: "list",
        packing: None,
        encoding: None,
        delimiter: None,
        header: false,
        sheet: None,
        sheets: None,
        rows,
        complete: bytes.len() == text.bytes.len() && !text.cut,
        columns: vec![column_sample(0, None, column, confidence)],
        code_column: Some(Guess {
            number: 1,
            name: None,
            confidence,
        }),
        warnings: complaints.warnings(),
    })
}

fn column_sample(
    column: usize,
    name: Option<String>,
    seen: Column,
    confidence: f64,
) -> ColumnSample {
    ColumnSample {
        number: column + 1,
        name,
        filled: seen.filled,
        unique: seen.unique(),
        samples: seen.samples,
        confidence,
    }
}

fn sample_table(
    source: &mut Source,
    options: &TableOptions,
    rules: Rules,
) -> Result<Sample, Failure> {
    let extent = source.measure(options)?;
    let (mut rows, delimiter) = source.rows(options, extent.records)?;
    let (_, first_row) = rows.first_row()?.ok_or(Fault::Empty)?;
    let mut columns = Vec::new();
    let mut count = 0;
    loop {
        let mut cells: Vec<Cell> = Vec::new();
        let keep = |column: usize, piece: &[u8]| {
            if column < header::LOOKED_AT {
                cells.resize_with(cells.len().max(column + 1), Cell::default);
                cells[column].push(piece);
            }
        };
        let Some(record) = rows.next::<Error>(keep)? else {
            break;
        };
        if record.columns > 1 || !cells.iter().all(Cell::is_blank) {
            count += 1;
            look_at(&mut columns, &cells);
        }
    }
    drop(rows);

    let told = options.told();
    let (header, chosen) = match header::layout(&first_row, options.header, &told) {
        Ok(layout) => (layout.header, Some(layout.code_column)),
        Err(Fault::CodeColumnNeeded { .. }) => {
            let best = best(&columns, |_| None, count);
            let names = best.is_some_and(|(best, _)| {
                first_row
                    .get(best)
                    .is_some_and(|cell| cell.text().is_ok_and(|name| columns[best].names(name)))
            });
            (options.header.unwrap_or(names), None)
        }
        Err(fault) => return Err(fault.into()),
    };
    if !header {
        count += 1;
        look_at(&mut columns, &first_row);
    }
    columns.resize_with(
        columns.len().max(first_row.len()).min(header::LOOKED_AT),
        Column::default,
    );
    let name = |column: usize| {
        let text = first_row.get(column).filter(|_| header)?.text().ok()?;
        Some(printable(text)).filter(|name| !name.is_empty())
    };
    let only = columns.len() == 1;
    let confidence =
        |column: usize, seen: &Column| seen.confidence(name(column).as_deref(), count, only);
    let guess = match chosen {
        Some(column) => columns
            .get(column)
            .map(|seen| (column, confidence(column, seen))),
        None => best(&columns, name, count),
    };

    let mut warnings = Vec::new();
    if chosen.is_none() {
        warnings.push(Warning::new(
            "codeColumnNeeded",
            "An import would ask which column holds the codes; pass codeColumn and header.",
        ));
    }
    if let Some((column, sure)) = guess {
        let rival = columns.iter().enumerate().find(|(other, seen)| {
            *other != column && told.codes.is_none() && confidence(*other, seen) > sure - CLOSE
        });
        if let Some((other, _)) = rival {
            warnings.push(Warning::new(
                "ambiguousCodeColumn",
                format!(
                    "Column {} may hold the codes as well as column {}; pass codeColumn.",
                    other + 1,
                    column + 1
                ),
            ));
        }
    }
    if let Some(line) = extent.unclosed {
        let mut warning = Warning::new(
            "unclosedQuote",
            "A quote opens here and is not closed in this part; if it never is, the import fails.",
        );
        warning.lines.push(line);
        warnings.push(warning);
    }
    if let Some((column, _)) = guess {
        let options = TableOptions {
            header: Some(header),
            code_column: Some((column + 1).to_string()),
            ..options.clone()
        };
        let mut complaints = Complaints::default();
        let (mut rows, delimiter) = source.rows(&options, extent.records)?;
        let read = read_table(&mut rows, delimiter, &options, rules, &mut |row| {
            complaints.add(row);
            Ok(())
        });
        match read {
            // The first row of codes may be the one that is cut.
            Ok(_) | Err(ReadError::Fault(Fault::OnlyHeader)) => {}
            Err(error) => return Err(error),
        }
        warnings.extend(complaints.warnings());
    }
    let guess = guess.map(|(column, confidence)| Guess {
        number: column + 1,
        name: name(column),
        confidence,
    });
    let columns = columns.into_iter().enumerate().map(|(column, seen)| {
        let confidence = confidence(column, &seen);
        column_sample(column, name(column), seen, confidence)
    });
    Ok(Sample {
        format: "csv",
        packing: None,
        encoding: None,
        delimiter: delimiter.map(Delimiter::as_str),
        header,
        sheet: None,
        sheets: None,
        rows: count,
        complete: extent.complete,
        columns: columns.collect(),
        code_column: guess,
        warnings,
    })
}

fn look_at(columns: &mut Vec<Column>, cells: &[Cell]) {
    columns.resize_with(columns.len().max(cells.len()), Column::default);
    for (column, cell) in columns.iter_mut().zip(cells) {
        if let Ok(text) = cell.text() {
            column.add(text);
        }
    }
}

fn best(
    columns: &[Column],
    name: impl Fn(usize) -> Option<String>,
    rows: usize,
) -> Option<(usize, f64)> {
    let only = columns.len() == 1;
    let sure = columns
        .iter()
        .enumerate()
        .map(|(column, seen)| (column, seen.confidence(name(column).as_deref(), rows, only)));
    // Of equals the first.
    sure.reduce(|best, other| if other.1 > best.1 { other } else { best })
}

/// Rejected rows by the reason, as they would be reported.
#[derive(Default)]
struct Complaints {
    codes: HashSet<String>,
    by_kind: BTreeMap<&'static str, (usize, Vec<u32>)>,
}

impl Complaints {
    fn add(&mut self, row: super::Row) {
        let kind = match row.code {
            Err(rejection) => rejection.reason.as_str(),
            Ok(code) if !self.codes.insert(code.clone()) => "duplicateInFile",
            Ok(_) => return,
        };
        let (count, lines) = self.by_kind.entry(kind).or_default();
        *count += 1;
        if lines.len() < LINES {
            lines.push(row.line);
        }
    }

    fn warnings(self) -> Vec<Warning> {
        let warning = |(kind, (count, lines))| Warning {
            kind,
            detail: format!("{count} of these rows would be rejected as {kind}."),
            count: Some(count),
            lines,
        };
        self.by_kind.into_iter().map(warning).collect()
    }
}

/// Where the records come from, as often as they are read.
enum Source {
    Text(Text),
    Workbook(Box<Workbook>),
}

/// How far a part is looked at.
struct Extent {
    records: usize,
    complete: bool,
    /// The line of a quote that is not closed.
    unclosed: Option<u32>,
}

impl Source {
    /// So many of the records.
    fn rows(
        &mut self,
        options: &TableOptions,
        records: usize,
    ) -> Result<(First<'_>, Option<Delimiter>), Failure> {
        let (rows, delimiter) = match self {
            Self::Text(text) => {
                let (rows, delimiter) =
                    csv::open(&text.bytes[..], options.delimiter, &options.told())?;
                (Rows::Csv(Box::new(rows)), delimiter)
            }
            Self::Workbook(workbook) => (Rows::Sheet(workbook.rows()?), None),
        };
        let left = records;
        Ok((First { rows, left }, delimiter))
    }

    fn measure(&mut self, options: &TableOptions) -> Result<Extent, Failure> {
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
    Sheet(SheetRows<'s>),
}

/// The first records of a table.
struct First<'s> {
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
