//! Parses a CSV file into records.
//!
//! The parser is `csv-core`. It reports neither the line of a row nor a quote that is never closed, so both are tracked
//! here. A cell of any size passes through a small buffer.

use std::io::Read;

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use crate::{
    Delimiter, ReadError, detect,
    header::ColumnSelection,
    input::InputBuffer,
    markup,
    table::{Record, Records},
};

/// Delimiter of a file of one column, in which nothing should be split. It is a control character, so a code that contains
/// it is rejected; it is put back into the cell for that.
const NO_DELIMITER: u8 = 0x1f;

/// Opens a file; detects the delimiter if it is not given.
pub(crate) fn open<R: Read, E>(
    input: R,
    delimiter: Option<Delimiter>,
    selection: &ColumnSelection,
) -> Result<(CsvRecords<R>, Option<Delimiter>), ReadError<E>> {
    let mut source = InputBuffer::open(input)?;
    let (sample, whole) = source.sample();
    markup::check(sample)?;
    let declared = detect::declared(sample);
    let delimiter = delimiter
        .or(declared.map(|(delimiter, _)| delimiter))
        .or_else(|| detect::detect(sample, whole, selection));
    if let Some((_, length)) = declared {
        source.consume(length);
    }
    Ok((CsvRecords::new(source, delimiter), delimiter))
}

/// Iterates over the records of a file.
pub(crate) struct CsvRecords<R> {
    source: InputBuffer<R>,
    parser: Reader,
    one_column: bool,
    /// Output buffer of the parser, for a piece of a cell.
    piece: [u8; 4096],
}

impl<R: Read> CsvRecords<R> {
    fn new(source: InputBuffer<R>, delimiter: Option<Delimiter>) -> Self {
        let byte = delimiter.map_or(NO_DELIMITER, Delimiter::byte);
        let mut parser = ReaderBuilder::new().delimiter(byte).build();
        let mut piece = [0; 4096];
        // A parser that has read something no longer looks for a byte order mark. One that is its whole input would end
        // the file.
        parser.read_field(b"\n", &mut piece);
        Self {
            source,
            parser,
            one_column: delimiter.is_none(),
            piece,
        }
    }

    /// Skips the blanks between a delimiter and a quote. By the rules of CSV the quote would be content then, but whoever
    /// writes `name, "A-1"` means `A-1`. Other blanks are kept.
    fn skip_blanks_before_quote<E>(
        &mut self,
        mut keep: impl FnMut(&[u8]),
    ) -> Result<(), ReadError<E>> {
        let mut skipped = 0;
        loop {
            let input = self.source.fill()?;
            let blanks = input.iter().take_while(|byte| **byte == b' ').count();
            if blanks < input.len() || blanks == 0 {
                let is_quoted = input.get(blanks) == Some(&b'"');
                self.source.consume(blanks);
                if !is_quoted {
                    for _ in 0..skipped + blanks {
                        let (_, _, written) = self.parser.read_field(b" ", &mut self.piece);
                        keep(&self.piece[..written]);
                    }
                }
                return Ok(());
            }
            skipped += blanks;
            self.source.consume(blanks);
        }
    }

    /// Advances to the start of a record; returns false at the end. The parser would skip line breaks too, but not report
    /// where the record starts.
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

impl<R: Read> Records for CsvRecords<R> {
    fn next<E>(
        &mut self,
        mut keep: impl FnMut(usize, &[u8]),
    ) -> Result<Option<Record>, ReadError<E>> {
        if !self.skip_line_breaks()? {
            return Ok(None);
        }
        let line = self.source.line();
        let (mut column, mut cell_line) = (0, line);
        self.skip_blanks_before_quote(|blank| keep(0, blank))?;
        loop {
            let input = self.source.fill()?;
            let at_end = input.is_empty();
            let input = if at_end { b"\n" } else { input };
            let (result, read, written) = self.parser.read_field(input, &mut self.piece);
            if at_end && written > 0 {
                // A line break is content only inside quotes.
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
                    self.skip_blanks_before_quote(|blank| keep(column, blank))?;
                }
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => return Ok(None),
            }
        }
    }
}
