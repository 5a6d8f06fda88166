//! What the first part of a delivery shows: its layout, its columns, and what an import of it would complain about.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
};

use serde::Serialize;

use super::{
    Claim, Delimiter, Fault, Format, ReadError, Rules, TableOptions,
    code::{Cell, printable},
    column::Column,
    delivery::open_workbook,
    header::{self, Layout},
    list::{self, read_list},
    part::{Extent, Source, Text},
    table::{Records, read_table},
    unpack::{Content, Packing, unpack},
};
use crate::http::error::Error;
use crate::imports::limits::Limits;

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
    match unpack(file, claim.gzip, limits)? {
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
        columns: vec![column_sample(0, None, &column, confidence)],
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
    seen: &Column,
    confidence: f64,
) -> ColumnSample {
    ColumnSample {
        number: column + 1,
        name,
        filled: seen.filled,
        unique: seen.unique(),
        samples: seen.samples.clone(),
        confidence,
    }
}

fn sample_table(
    source: &mut Source,
    options: &TableOptions,
    rules: Rules,
) -> Result<Sample, Failure> {
    let extent = source.measure(options)?;
    let seen = Seen::read(source, &extent, options)?;
    let guess = seen.guess();
    let mut warnings = seen.warnings(options);
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
            header: Some(seen.header),
            code_column: Some((column + 1).to_string()),
            ..options.clone()
        };
        warnings.extend(complaints(source, &extent, &options, rules)?);
    }
    let name = |column| seen.name(column).map(printable);
    let columns = seen.columns.iter().enumerate().map(|(column, values)| {
        let confidence = seen.confidence(column, values);
        column_sample(column, name(column), values, confidence)
    });
    Ok(Sample {
        format: "csv",
        packing: None,
        encoding: None,
        delimiter: seen.delimiter.map(Delimiter::as_str),
        header: seen.header,
        sheet: None,
        sheets: None,
        rows: seen.rows,
        complete: extent.complete,
        columns: columns.collect(),
        code_column: guess.map(|(column, confidence)| Guess {
            number: column + 1,
            name: name(column),
            confidence,
        }),
        warnings,
    })
}

/// What an import of these rows would complain about.
fn complaints(
    source: &mut Source,
    extent: &Extent,
    options: &TableOptions,
    rules: Rules,
) -> Result<Vec<Warning>, Failure> {
    let mut complaints = Complaints::default();
    let (mut rows, delimiter) = source.rows(options, extent.records)?;
    let read = read_table(&mut rows, delimiter, options, rules, &mut |row| {
        complaints.add(row);
        Ok(())
    });
    match read {
        // The first row of codes may be the one that is cut.
        Ok(_) | Err(ReadError::Fault(Fault::OnlyHeader)) => Ok(complaints.warnings()),
        Err(error) => Err(error),
    }
}

/// What was seen of a table.
struct Seen {
    delimiter: Option<Delimiter>,
    first_row: Vec<Cell>,
    header: bool,
    columns: Vec<Column>,
    rows: usize,
    /// The code column that an import would take; without one it would ask.
    chosen: Option<usize>,
}

impl Seen {
    fn read(source: &mut Source, extent: &Extent, options: &TableOptions) -> Result<Self, Failure> {
        let (mut records, delimiter) = source.rows(options, extent.records)?;
        let (_, first_row) = records.first_row()?.ok_or(Fault::Empty)?;
        let mut seen = Self {
            delimiter,
            first_row: Vec::new(),
            header: true,
            columns: Vec::new(),
            rows: 0,
            chosen: None,
        };
        while let Some((_, cells)) = records.first_row()? {
            seen.look_at(&cells);
        }
        match header::layout(&first_row, options.header, &options.told()) {
            Ok(Layout {
                header,
                code_column,
                ..
            }) => {
                seen.header = header;
                seen.chosen = Some(code_column);
            }
            Err(Fault::CodeColumnNeeded { .. }) => {
                seen.header = options
                    .header
                    .unwrap_or_else(|| seen.is_headed_by(&first_row));
            }
            Err(fault) => return Err(fault.into()),
        }
        if !seen.header {
            seen.look_at(&first_row);
        }
        let width = seen.columns.len().max(first_row.len());
        seen.columns.resize_with(width, Column::default);
        seen.first_row = first_row;
        Ok(seen)
    }

    fn look_at(&mut self, cells: &[Cell]) {
        self.rows += 1;
        let width = self.columns.len().max(cells.len());
        self.columns.resize_with(width, Column::default);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            if let Ok(text) = cell.text() {
                column.add(text);
            }
        }
    }

    /// Whether a row names the likeliest column, by what the column holds.
    fn is_headed_by(&self, first_row: &[Cell]) -> bool {
        self.best().is_some_and(|(column, _)| {
            let name = first_row.get(column).and_then(|cell| cell.text().ok());
            name.is_some_and(|name| self.columns[column].names(name))
        })
    }

    fn name(&self, column: usize) -> Option<&str> {
        let cell = self.first_row.get(column).filter(|_| self.header)?;
        let name = cell.text().ok()?.trim();
        (!name.is_empty()).then_some(name)
    }

    fn confidence(&self, column: usize, values: &Column) -> f64 {
        values.confidence(self.name(column), self.rows, self.columns.len() == 1)
    }

    fn all_confidences(&self) -> impl Iterator<Item = (usize, f64)> {
        let columns = self.columns.iter().enumerate();
        columns.map(|(column, values)| (column, self.confidence(column, values)))
    }

    /// Of equals the first.
    fn best(&self) -> Option<(usize, f64)> {
        self.all_confidences()
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    fn guess(&self) -> Option<(usize, f64)> {
        match self.chosen {
            Some(column) => self.all_confidences().nth(column),
            None => self.best(),
        }
    }

    fn warnings(&self, options: &TableOptions) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.chosen.is_none() {
            warnings.push(Warning::new(
                "codeColumnNeeded",
                "An import would ask which column holds the codes; pass codeColumn and header.",
            ));
        }
        if options.code_column.is_none()
            && let Some((column, sure)) = self.guess()
            && let Some((other, _)) = self
                .all_confidences()
                .find(|(other, confidence)| *other != column && *confidence > sure - CLOSE)
        {
            let (column, other) = (column + 1, other + 1);
            warnings.push(Warning::new(
                "ambiguousCodeColumn",
                format!(
                    "Column {other} may hold the codes as well as column {column}; pass codeColumn."
                ),
            ));
        }
        warnings
    }
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
