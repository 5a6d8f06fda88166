//! Reads the codes of a CSV file, and when they expire.
//!
//! `csv-core` takes the file apart; it reports neither the line of a row nor a quote that is never
//! closed, so both are kept here. Only the cells of these columns are gathered, each as far as a
//! verdict needs it; all others pass through a small buffer and are forgotten.

use std::io::Read;

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use super::{
    Delimiter, Fault, ReadError, Reason, Rejection, Row,
    code::{Cell, printable},
    detect,
    header::{self, Column, Layout, Told},
    input::Source,
};
use crate::time_zone::Zone;

/// Cuts a file of one column, where nothing should cut: a code with it is none anyway, and it is
/// put back for the verdict.
const NO_DELIMITER: u8 = 0x1f;

/// What the caller tells of a file; what it leaves open is guessed.
#[derive(Clone, Debug, Default)]
pub(crate) struct CsvOptions {
    /// The delimiter; else guessed from the first 64 KiB.
    pub(crate) delimiter: Option<Delimiter>,
    /// Whether row 1 holds names; else it does if one of them is a known name of the code column.
    pub(crate) header: Option<bool>,
    /// The code column: a name in row 1, or a number from 1.
    pub(crate) code_column: Option<String>,
    /// The column that says when codes expire, in the same way; else they never do.
    pub(crate) expires_at_column: Option<String>,
}

/// How a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CsvLayout {
    /// What delimits the columns; none in a file of one column.
    pub(crate) delimiter: Option<Delimiter>,
    /// Whether row 1 was taken for names.
    pub(crate) header: bool,
    /// The code column: its name in the header, else its number from 1.
    pub(crate) code_column: String,
    /// The column that says when codes expire, in the same way.
    pub(crate) expires_at_column: Option<String>,
}

/// Pushes each row of a CSV file that is not blank into the sink. Dates are those of `zone`.
pub(crate) fn read_csv<E>(
    input: impl Read,
    options: &CsvOptions,
    zone: Zone,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<CsvLayout, ReadError<E>> {
    let parse = |column: &Option<String>| column.as_deref().and_then(Column::parse);
    let told = Told {
        codes: parse(&options.code_column),
        expiries: parse(&options.expires_at_column),
    };
    let (mut records, delimiter) = open(input, options.delimiter, &told)?;
    let (line, first_row) = records.first_row()?.ok_or(Fault::Empty)?;
    let layout = header::layout(&first_row, options.header, &told)?;
    let Layout {
        header,
        code_column,
        expires_at_column,
    } = layout;
    let name = |column: usize| {
        header
            .then(|| first_row[column].text().ok().map(printable))
            .flatten()
            .unwrap_or_else(|| (column + 1).to_string())
    };
    let read = CsvLayout {
        delimiter,
        header,
        code_column: name(code_column),
        expires_at_column: expires_at_column.map(name),
    };
    if !header {
        let expiry = expires_at_column.map_or(Ok(""), |column| first_row[column].text());
        let code = first_row[code_column].judge();
        sink(Row::expiring(line, code, expiry, zone)).map_err(ReadError::Sink)?;
    }
    drop(first_row);
    let pushed = records.push_rows(&layout, zone, sink)?;
    if header && pushed == 0 {
        return Err(Fault::OnlyHeader.into());
    }
    Ok(read)
}

fn open<R: Read, E>(
    input: R,
    delimiter: Option<Delimiter>,
    told: &Told,
) -> Result<(Records<R>, Option<Delimiter>), ReadError<E>> {
    let mut source = Source::open(input)?;
    let (sample, whole) = source.sample();
    let declared = detect::declared(sample);
    let delimiter = delimiter
        .or(declared.map(|(delimiter, _)| delimiter))
        .or_else(|| detect::detect(sample, whole, told));
    if let Some((_, length)) = declared {
        source.consume(length);
    }
    Ok((Records::new(source, delimiter), delimiter))
}

/// The records of a file, one after the other.
struct Records<R> {
    source: Source<R>,
    parser: Reader,
    one_column: bool,
    /// Where the parser writes a piece of a cell.
    piece: [u8; 4096],
}

/// A record that was read.
struct Record {
    /// The line on which it starts.
    line: u32,
    columns: usize,
}

impl<R: Read> Records<R> {
    fn new(source: Source<R>, delimiter: Option<Delimiter>) -> Self {
        let byte = delimiter.map_or(NO_DELIMITER, Delimiter::byte);
        let mut parser = ReaderBuilder::new().delimiter(byte).build();
        let mut piece = [0; 4096];
        // A parser that has read something no longer looks for a byte order mark; it takes one
        // that is all of its input for the end.
        parser.read_field(b"\n", &mut piece);
        Self {
            source,
            parser,
            one_column: delimiter.is_none(),
            piece,
        }
    }

    /// The cells of the first row that is not blank, with its line.
    fn first_row<E>(&mut self) -> Result<Option<(u32, Vec<Cell>)>, ReadError<E>> {
        loop {
            let mut cells = Vec::new();
            let record = self.next(|column, piece| {
                if column < header::LOOKED_AT {
                    cells.resize_with(cells.len().max(column + 1), Cell::default);
                    cells[column].push(piece);
                }
            })?;
            match record {
                None => return Ok(None),
                Some(record) if record.columns == 1 && cells[0].is_blank() => {}
                Some(record) => return Ok(Some((record.line, cells))),
            }
        }
    }

    /// Pushes the other rows, and counts them.
    fn push_rows<E>(
        &mut self,
        layout: &Layout,
        zone: Zone,
        sink: &mut impl FnMut(Row) -> Result<(), E>,
    ) -> Result<u64, ReadError<E>> {
        let (mut first, mut code, mut expiry) = (Cell::default(), Cell::default(), Cell::default());
        let mut pushed = 0;
        while let Some(Record { line, columns }) = self.next(|column, piece| {
            if column == layout.code_column {
                code.push(piece);
            } else if Some(column) == layout.expires_at_column {
                expiry.push(piece);
            } else if column == 0 {
                first.push(piece);
            }
        })? {
            let judged = code.judge();
            let blank = columns == 1 && first.is_blank() && expiry.is_blank() && is_empty(&judged);
            if !blank {
                let row = Row::expiring(line, judged, expiry.text(), zone);
                sink(row).map_err(ReadError::Sink)?;
                pushed += 1;
            }
            first.clear();
            code.clear();
            expiry.clear();
        }
        Ok(pushed)
    }

    /// Reads one record and gives each piece of each cell to `keep`, with its column from 0.
    fn next<E>(
        &mut self,
        mut keep: impl FnMut(usize, &[u8]),
    ) -> Result<Option<Record>, ReadError<E>> {
        if !self.skip_line_breaks()? {
            return Ok(None);
        }
        let line = self.source.line();
        let (mut column, mut cell_line) = (0, line);
        loop {
            let input = self.source.fill()?;
            let at_end = input.is_empty();
            let input = if at_end { b"\n" } else { input };
            let (result, read, written) = self.parser.read_field(input, &mut self.piece);
            if at_end && written > 0 {
                // A line break is only ever content inside quotes.
                return Err(ReadError::UnclosedQuote { line: cell_line });
            }
            if !at_end {
                self.source.consume(read);
            }
            keep(column, &self.piece[..written]);
            match result {
                ReadFieldResult::Field { record_end: true } => {
                    return Ok(Some(Record {
                        line,
                        columns: column + 1,
                    }));
                }
                ReadFieldResult::Field { record_end: false } if self.one_column => {
                    keep(column, &[NO_DELIMITER]);
                }
                ReadFieldResult::Field { record_end: false } => {
                    column += 1;
                    cell_line = self.source.line();
                }
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => return Ok(None),
            }
        }
    }

    /// Goes to the start of a record; says whether there is one. The parser would skip line breaks
    /// too, but not tell where the record starts.
    fn skip_line_breaks<E>(&mut self) -> Result<bool, ReadError<E>> {
        loop {
            let input = self.source.fill()?;
            let breaks = input
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            if breaks < input.len() {
                self.source.consume(breaks);
                return Ok(true);
            }
            if breaks == 0 {
                return Ok(false);
            }
            self.source.consume(breaks);
        }
    }
}

fn is_empty(judged: &Result<String, Rejection>) -> bool {
    judged
        .as_ref()
        .is_err_and(|rejection| rejection.reason == Reason::Empty)
}
