//! Reads the code column of a CSV file.
//!
//! `csv-core` takes the file apart; it reports neither the line of a row nor a quote that is never
//! closed, so both are kept here. Only the code column's cells are gathered, each as far as a
//! verdict needs it; all others pass through a small buffer and are forgotten.

use std::io::Read;

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use super::{
    Delimiter, Fault, ReadError, Reason, Rejection, Row,
    code::{Cell, printable},
    detect,
    header::{self, CodeColumn, Layout},
    input::Source,
};

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
}

/// How a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CsvLayout {
    /// What delimits the columns; none in a file of one column.
    pub(crate) delimiter: Option<Delimiter>,
    /// Whether row 1 was taken for names.
    pub(crate) header: bool,
    /// The code column, from 0.
    pub(crate) code_column: usize,
    /// Its name in the header.
    pub(crate) code_column_name: Option<String>,
}

/// Pushes each row of a CSV file that is not blank into the sink.
pub(crate) fn read_csv<E>(
    input: impl Read,
    options: &CsvOptions,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<CsvLayout, ReadError<E>> {
    let told = options.code_column.as_deref().and_then(CodeColumn::parse);
    let (mut records, delimiter) = open(input, options.delimiter, told.as_ref())?;
    let (line, first_row) = records.first_row()?.ok_or(Fault::Empty)?;
    let Layout {
        header,
        code_column,
    } = header::layout(&first_row, options.header, told.as_ref())?;
    let code_column_name = if header {
        first_row[code_column].text().ok().map(printable)
    } else {
        sink(Row {
            line,
            code: first_row[code_column].judge(),
        })
        .map_err(ReadError::Sink)?;
        None
    };
    drop(first_row);
    let pushed = records.push_rows(code_column, sink)?;
    if header && pushed == 0 {
        return Err(Fault::OnlyHeader.into());
    }
    Ok(CsvLayout {
        delimiter,
        header,
        code_column,
        code_column_name,
    })
}

fn open<R: Read, E>(
    input: R,
    told: Option<Delimiter>,
    code_column: Option<&CodeColumn>,
) -> Result<(Records<R>, Option<Delimiter>), ReadError<E>> {
    let mut source = Source::open(input)?;
    let (sample, whole) = source.sample();
    let declared = detect::declared(sample);
    let delimiter = told
        .or(declared.map(|(delimiter, _)| delimiter))
        .or_else(|| detect::detect(sample, whole, code_column));
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
        code_column: usize,
        sink: &mut impl FnMut(Row) -> Result<(), E>,
    ) -> Result<u64, ReadError<E>> {
        let (mut first, mut code) = (Cell::default(), Cell::default());
        let mut pushed = 0;
        while let Some(Record { line, columns }) = self.next(|column, piece| {
            if column == code_column {
                code.push(piece);
            } else if column == 0 {
                first.push(piece);
            }
        })? {
            let judged = code.judge();
            if !(columns == 1 && first.is_blank() && is_empty(&judged)) {
                sink(Row { line, code: judged }).map_err(ReadError::Sink)?;
                pushed += 1;
            }
            first.clear();
            code.clear();
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
