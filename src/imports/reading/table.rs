//! Reads the codes of a table, when they expire and what else is told of them; a CSV file and a sheet are tables.
//!
//! Only the cells of these columns are gathered, each as far as a verdict needs it; all others are forgotten.

use super::{
    Delimiter, Fault, ReadError, Row, Rules,
    attributes::Attributes,
    code::{Cell, printable},
    header::{self, Column, Layout, Others, Told},
};

/// What the caller tells of a table; what it leaves open is guessed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableOptions {
    /// The delimiter; else guessed from the first 64 KiB.
    pub(crate) delimiter: Option<Delimiter>,
    /// Whether row 1 holds names; else it does if one of them is a known name of the code column.
    pub(crate) header: Option<bool>,
    /// The code column: a name in row 1, or a number from 1.
    pub(crate) code_column: Option<String>,
    /// The column that says when codes expire, in the same way; else they never do.
    pub(crate) expires_at_column: Option<String>,
    /// The columns that are kept with a code, in the same way and with commas between them; `*` is all others.
    pub(crate) attribute_columns: Option<String>,
    /// The encoding of the text; else it is detected.
    pub(crate) encoding: Option<&'static encoding_rs::Encoding>,
    /// The sheet of a workbook; else the first.
    pub(crate) sheet: Option<String>,
}

impl TableOptions {
    pub(super) fn told(&self) -> Told {
        let parse = |column: &Option<String>| column.as_deref().and_then(Column::parse);
        Told {
            codes: parse(&self.code_column),
            expiries: parse(&self.expires_at_column),
            others: self
                .attribute_columns
                .as_deref()
                .map_or_else(Others::default, Others::parse),
        }
    }
}

/// How a table was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableLayout {
    /// What delimits the columns; none in a file of one column and in a workbook.
    pub(crate) delimiter: Option<Delimiter>,
    /// Whether row 1 was taken for names.
    pub(crate) header: bool,
    /// The code column: its name in the header, else its number from 1.
    pub(crate) code_column: String,
    /// The column that says when codes expire, in the same way.
    pub(crate) expires_at_column: Option<String>,
    /// The columns that are kept with a code, in the same way and with commas between them.
    pub(crate) attribute_columns: Option<String>,
}

/// A record that was read.
pub(super) struct Record {
    /// The line on which it starts.
    pub(super) line: u32,
    pub(super) columns: usize,
}

/// The records of a table, one after the other.
pub(super) trait Records {
    /// Reads one record and gives each piece of each cell to `keep`, with its column from 0.
    fn next<E>(&mut self, keep: impl FnMut(usize, &[u8])) -> Result<Option<Record>, ReadError<E>>;

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
}

/// Pushes each row of a table that is not blank into the sink.
pub(super) fn read_table<E>(
    records: &mut impl Records,
    delimiter: Option<Delimiter>,
    options: &TableOptions,
    rules: Rules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<TableLayout, ReadError<E>> {
    let (line, first_row) = records.first_row()?.ok_or(Fault::Empty)?;
    let layout = header::layout(&first_row, options.header, &options.told())?;
    let name = |column: usize| {
        layout
            .header
            .then(|| first_row[column].text().ok().map(printable))
            .flatten()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| (column + 1).to_string())
    };
    let names: Vec<String> = layout
        .attribute_columns
        .iter()
        .map(|column| name(*column))
        .collect();
    let read = TableLayout {
        delimiter,
        header: layout.header,
        code_column: name(layout.code_column),
        expires_at_column: layout.expires_at_column.map(name),
        attribute_columns: options
            .attribute_columns
            .as_ref()
            .map(|_| retellable(&layout.attribute_columns, &names)),
    };
    let mut gathered = Gathered::new(&layout, &names, rules);
    if !layout.header {
        for (column, cell) in first_row.into_iter().enumerate() {
            gathered.put(column, cell);
        }
        sink(gathered.take_row(line)).map_err(ReadError::Sink)?;
    }
    let mut pushed = false;
    while let Some(Record { line, columns }) =
        records.next(|column, piece| gathered.push(column, piece))?
    {
        if columns == 1 && gathered.is_blank() {
            gathered.clear();
        } else {
            sink(gathered.take_row(line)).map_err(ReadError::Sink)?;
            pushed = true;
        }
    }
    if layout.header && !pushed {
        return Err(Fault::OnlyHeader.into());
    }
    Ok(read)
}

/// The columns as they can be told again: by name, or by number where a name would be parted or taken for another.
fn retellable(columns: &[usize], names: &[String]) -> String {
    let told = |(place, name): (usize, &String)| {
        let is_name = matches!(Column::parse(name), Some(Column::Named(_)));
        if is_name && !name.contains(',') && name != "*" && !names[..place].contains(name) {
            name.clone()
        } else {
            (columns[place] + 1).to_string()
        }
    };
    let told: Vec<String> = names.iter().enumerate().map(told).collect();
    told.join(",")
}

/// The cells of a row that matter.
struct Gathered {
    /// By column: the place of its cell.
    places: Vec<Option<usize>>,
    /// The code, the expiry, and the attributes.
    cells: Vec<Cell>,
    /// The first cell, if it is none of them: a row of blanks alone is no row.
    first: Cell,
    attributes: Attributes,
    rules: Rules,
}

impl Gathered {
    fn new(layout: &Layout, names: &[String], rules: Rules) -> Self {
        let columns = [Some(layout.code_column), layout.expires_at_column]
            .into_iter()
            .chain(layout.attribute_columns.iter().copied().map(Some));
        let mut places = Vec::new();
        let mut cells = Vec::new();
        for column in columns {
            if let Some(column) = column {
                places.resize(places.len().max(column + 1), None);
                places[column] = Some(cells.len());
            }
            cells.push(Cell::default());
        }
        Self {
            places,
            cells,
            first: Cell::default(),
            attributes: Attributes::named(names),
            rules,
        }
    }

    fn cell(&mut self, column: usize) -> Option<&mut Cell> {
        match self.places.get(column) {
            Some(Some(place)) => Some(&mut self.cells[*place]),
            _ if column == 0 => Some(&mut self.first),
            _ => None,
        }
    }

    fn push(&mut self, column: usize, piece: &[u8]) {
        if let Some(cell) = self.cell(column) {
            cell.push(piece);
        }
    }

    fn put(&mut self, column: usize, whole: Cell) {
        if let Some(cell) = self.cell(column) {
            *cell = whole;
        }
    }

    fn is_blank(&self) -> bool {
        self.first.is_blank() && self.cells.iter().all(Cell::is_blank)
    }

    fn take_row(&mut self, line: u32) -> Row {
        for (place, cell) in self.cells[2..].iter().enumerate() {
            self.attributes.add(place, cell.text());
        }
        let code = self.cells[0].judge(self.rules.code_chars);
        let expiry = self.cells[1].text();
        let row = Row::judge(line, code, expiry, self.attributes.take(), self.rules.zone);
        self.clear();
        row
    }

    fn clear(&mut self) {
        self.first.clear();
        self.cells.iter_mut().for_each(Cell::clear);
    }
}
