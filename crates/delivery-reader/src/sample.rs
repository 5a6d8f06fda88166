//! Preview of a delivery from its first part: layout, columns, and warnings of rows that would be rejected.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
};

use serde::Serialize;

use crate::{
    ContentTypeHint, Delimiter, DeliveryFault, Limits, ReadError, RowRules, TableOptions,
    TextFormat,
    code::{Cell, printable},
    delivery::open_workbook,
    header::{self, ColumnLayout},
    list::{self, read_list},
    profile::ColumnProfile,
    sample_source::{Extent, SampleSource, SampleText},
    table::{Records, read_table},
    unpack::{Content, Packing, unpack},
    warning::Warning,
};

/// Most lines that a warning names.
const MAX_LINES: usize = 5;

/// Difference of confidence below which a second column is ambiguous.
const AMBIGUITY_MARGIN: f64 = 0.1;

/// Preview of a delivery. It serializes to an object in camel case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    format: &'static str,
    packing: Option<&'static str>,
    encoding: Option<&'static str>,
    delimiter: Option<&'static str>,
    header: bool,
    sheet: Option<String>,
    sheets: Option<Vec<String>>,
    /// Number of rows that were read, without the header.
    rows: usize,
    /// The whole delivery was read.
    complete: bool,
    columns: Vec<ColumnSample>,
    code_column: Option<CodeColumnGuess>,
    warnings: Vec<Warning>,
}

/// Preview of a column.
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
struct CodeColumnGuess {
    number: usize,
    name: Option<String>,
    confidence: f64,
}

/// Previews a delivery from its first part; `whole` is true if the file is the whole delivery.
pub fn sample<E>(
    file: File,
    hint: ContentTypeHint,
    whole: bool,
    options: &TableOptions,
    rules: RowRules,
    limits: &Limits,
) -> Result<Sample, ReadError<E>> {
    match unpack(file, hint.gzip, limits)? {
        Content::Text(_) if options.sheet.is_some() => Err(DeliveryFault::NotAWorkbook {
            wanted: options.sheet.clone().unwrap_or_default(),
        }
        .into()),
        Content::Text(packed) => {
            let text = SampleText::read(&packed, whole, options.encoding)?;
            let packing = match packed.packing {
                Packing::Plain => None,
                Packing::Gzip => Some("gzip"),
                Packing::Zip(_) => Some("zip"),
            };
            let mut warnings = Vec::new();
            if text.guessed {
                warnings.push(Warning::encoding_guessed(text.encoding.name()));
            }
            let encoding = text.encoding.name();
            let sample = if hint.format == TextFormat::List {
                sample_list(&text, rules)?
            } else {
                sample_table(&mut SampleSource::Text(text), options, rules)?
            };
            warnings.extend(sample.warnings);
            Ok(Sample {
                packing,
                encoding: Some(encoding),
                warnings,
                ..sample
            })
        }
        Content::Workbook(file) => {
            let (mut workbook, _permit) = open_workbook(file, options, limits)?;
            let format = workbook.format();
            let sheet = workbook.sheet().to_owned();
            let sheets = workbook.sheets().map(str::to_owned).collect();
            let sample = sample_table(&mut SampleSource::Workbook(&mut workbook), options, rules)?;
            Ok(Sample {
                format,
                sheet: Some(sheet),
                sheets: Some(sheets),
                ..sample
            })
        }
    }
}

fn sample_list<E>(text: &SampleText, rules: RowRules) -> Result<Sample, ReadError<E>> {
    let bytes = &text.bytes[..];
    // The last code may be truncated, unless it is the only one.
    let end = bytes.iter().rposition(|byte| list::separates(*byte));
    let bytes = match end {
        Some(end) if text.truncated && end > 0 => &bytes[..end],
        _ => bytes,
    };
    let (mut column, mut summary) = (ColumnProfile::default(), RejectionSummary::default());
    let mut rows = 0;
    read_list(bytes, rules, &mut |row| {
        rows += 1;
        if let Ok(code) = &row.code {
            column.add(code);
        }
        summary.add(row);
        Ok(())
    })?;
    let confidence = column.confidence(false, rows, true);
    Ok(Sample {
        format: "list",
        packing: None,
        encoding: None,
        delimiter: None,
        header: false,
        sheet: None,
        sheets: None,
        rows,
        complete: bytes.len() == text.bytes.len() && !text.truncated,
        columns: vec![column_sample(0, None, &column, confidence)],
        code_column: Some(CodeColumnGuess {
            number: 1,
            name: None,
            confidence,
        }),
        warnings: summary.warnings(),
    })
}

fn column_sample(
    column: usize,
    name: Option<String>,
    profile: &ColumnProfile,
    confidence: f64,
) -> ColumnSample {
    ColumnSample {
        number: column + 1,
        name,
        filled: profile.filled,
        unique: profile.unique(),
        samples: profile.samples.clone(),
        confidence,
    }
}

fn sample_table<E>(
    source: &mut SampleSource<'_>,
    options: &TableOptions,
    rules: RowRules,
) -> Result<Sample, ReadError<E>> {
    let extent = source.measure(options)?;
    let profile = TableProfile::read(source, &extent, options)?;
    let guess = profile.guess();
    let mut warnings = profile.warnings(options);
    warnings.extend(Warning::hidden_rows(extent.hidden));
    if let Some(line) = extent.unclosed {
        let mut warning = Warning::new(
            "unclosedQuote",
            "A quote opens here and is not closed in this part. If it is never closed, the import fails.",
        );
        warning.lines.push(line);
        warnings.push(warning);
    }
    if let Some((column, _)) = guess {
        let options = TableOptions {
            header: Some(profile.header),
            code_column: Some((column + 1).to_string()),
            ..options.clone()
        };
        warnings.extend(rejections(source, &extent, &options, rules)?);
    }
    let name = |column| profile.name(column).map(printable);
    let columns = profile.columns.iter().enumerate().map(|(column, values)| {
        let confidence = profile.confidence(column, values);
        column_sample(column, name(column), values, confidence)
    });
    Ok(Sample {
        format: "csv",
        packing: None,
        encoding: None,
        delimiter: profile.delimiter.map(Delimiter::as_str),
        header: profile.header,
        sheet: None,
        sheets: None,
        rows: profile.rows,
        complete: extent.complete,
        columns: columns.collect(),
        code_column: guess.map(|(column, confidence)| CodeColumnGuess {
            number: column + 1,
            name: name(column),
            confidence,
        }),
        warnings,
    })
}

/// Reads the rows, and makes a warning for each reason of rejections.
fn rejections<E>(
    source: &mut SampleSource<'_>,
    extent: &Extent,
    options: &TableOptions,
    rules: RowRules,
) -> Result<Vec<Warning>, ReadError<E>> {
    let mut summary = RejectionSummary::default();
    let (mut rows, delimiter) = source.rows(options, extent.records)?;
    let read = read_table(&mut rows, delimiter, options, rules, &mut |row| {
        summary.add(row);
        Ok(())
    });
    match read {
        // The only row below the header may be the truncated one.
        Ok(_) | Err(ReadError::Fault(DeliveryFault::OnlyHeader)) => Ok(summary.warnings()),
        Err(error) => Err(error),
    }
}

/// Profile of a table: its layout and the profiles of its columns.
struct TableProfile {
    delimiter: Option<Delimiter>,
    first_row: Vec<Cell>,
    header: bool,
    columns: Vec<ColumnProfile>,
    rows: usize,
    /// The code column that options or its name select.
    selected: Option<usize>,
    code_names: &'static [&'static str],
}

impl TableProfile {
    fn read<E>(
        source: &mut SampleSource<'_>,
        extent: &Extent,
        options: &TableOptions,
    ) -> Result<Self, ReadError<E>> {
        let (mut records, delimiter) = source.rows(options, extent.records)?;
        let (_, first_row) = records.first_row()?.ok_or(DeliveryFault::Empty)?;
        let mut profile = Self {
            delimiter,
            first_row: Vec::new(),
            header: true,
            columns: Vec::new(),
            rows: 0,
            selected: None,
            code_names: options.code_names,
        };
        let selection = options.column_selection();
        let layout = header::layout(&first_row, options.header, &selection);
        let is_header_missing = layout.as_ref().is_ok_and(|layout| !layout.header);
        let searches_header = is_header_missing && options.searches_header();
        while let Some((line, cells)) = records.first_row()? {
            if searches_header && profile.rows < header::MAX_TITLE_ROWS {
                header::check_below_first(line, &cells, &selection)?;
            }
            profile.add(&cells);
        }
        match layout {
            Ok(ColumnLayout {
                header,
                code_column,
                ..
            }) => {
                profile.header = header;
                profile.selected = Some(code_column);
            }
            Err(DeliveryFault::CodeColumnNeeded { .. }) => {
                profile.header = options
                    .header
                    .unwrap_or_else(|| profile.is_header(&first_row));
            }
            Err(fault) => return Err(fault.into()),
        }
        if !profile.header {
            profile.add(&first_row);
        }
        let width = profile.columns.len().max(first_row.len());
        profile.columns.resize_with(width, ColumnProfile::default);
        profile.first_row = first_row;
        Ok(profile)
    }

    fn add(&mut self, cells: &[Cell]) {
        self.rows += 1;
        let width = self.columns.len().max(cells.len());
        self.columns.resize_with(width, ColumnProfile::default);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            if let Ok(text) = cell.text() {
                column.add(text);
            }
        }
    }

    /// Returns true if a row has a name for the likeliest column, unlike the values of that column.
    fn is_header(&self, first_row: &[Cell]) -> bool {
        self.best().is_some_and(|(column, _)| {
            let name = first_row.get(column).and_then(|cell| cell.text().ok());
            name.is_some_and(|name| self.columns[column].is_named_by(name))
        })
    }

    fn name(&self, column: usize) -> Option<&str> {
        let cell = self.first_row.get(column).filter(|_| self.header)?;
        let name = cell.text().ok()?.trim();
        (!name.is_empty()).then_some(name)
    }

    fn confidence(&self, column: usize, values: &ColumnProfile) -> f64 {
        let name = self.name(column);
        let has_code_name =
            name.is_some_and(|name| header::code_name_rank(name, self.code_names).is_some());
        values.confidence(has_code_name, self.rows, self.columns.len() == 1)
    }

    fn all_confidences(&self) -> impl Iterator<Item = (usize, f64)> {
        let columns = self.columns.iter().enumerate();
        columns.map(|(column, values)| (column, self.confidence(column, values)))
    }

    /// The likeliest code column; the first of equals.
    fn best(&self) -> Option<(usize, f64)> {
        self.all_confidences()
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    fn guess(&self) -> Option<(usize, f64)> {
        match self.selected {
            Some(column) => self.all_confidences().nth(column),
            None => self.best(),
        }
    }

    fn warnings(&self, options: &TableOptions) -> Vec<Warning> {
        let needed = self.selected.is_none().then(|| {
            Warning::new(
                "codeColumnNeeded",
                "An import would require codeColumn; pass codeColumn and header.",
            )
        });
        let ambiguous = self.ambiguity(options);
        needed.into_iter().chain(ambiguous).collect()
    }

    /// Warns of another column that may have the codes, if none was chosen.
    fn ambiguity(&self, options: &TableOptions) -> Option<Warning> {
        if options.code_column.is_none()
            && let Some((column, best)) = self.guess()
            && let Some((other, _)) = self.all_confidences().find(|(other, confidence)| {
                *other != column && *confidence > best - AMBIGUITY_MARGIN
            })
        {
            let (column, other) = (column + 1, other + 1);
            return Some(Warning::new(
                "ambiguousCodeColumn",
                format!(
                    "Column {other} may contain the codes as well as column {column}; pass codeColumn."
                ),
            ));
        }
        None
    }
}

/// Warns of another column of a table that may have the codes, judged by its first part.
pub(crate) fn ambiguous_code_column<E>(
    source: &mut SampleSource<'_>,
    options: &TableOptions,
) -> Result<Option<Warning>, ReadError<E>> {
    if options.code_column.is_some() {
        return Ok(None);
    }
    let extent = source.measure(options)?;
    match TableProfile::read(source, &extent, options) {
        Ok(profile) => Ok(profile.ambiguity(options)),
        // The first part holds no whole row.
        Err(ReadError::Fault(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Rejected rows by the reason, as a report would name it.
#[derive(Default)]
struct RejectionSummary {
    codes: HashSet<String>,
    by_kind: BTreeMap<&'static str, (usize, Vec<u32>)>,
}

impl RejectionSummary {
    fn add(&mut self, row: crate::Row) {
        let kind = match row.code {
            Err(rejection) => rejection.reason.as_str(),
            Ok(code) if !self.codes.insert(code.clone()) => "duplicateInFile",
            Ok(_) => return,
        };
        let (count, lines) = self.by_kind.entry(kind).or_default();
        *count += 1;
        if lines.len() < MAX_LINES {
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
