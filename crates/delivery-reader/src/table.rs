//! Reads the codes, expiries and attributes of a table; a CSV file and a sheet are tables.
//!
//! Only the cells of these columns are held, each up to a limit; all others are skipped.

use crate::{
    Delimiter, DeliveryFault, ReadError, Row, RowRules,
    attributes::Attributes,
    code::{Cell, printable},
    header::{
        self, AttributeColumns, ColumnLayout, ColumnRef, ColumnSelection, DEFAULT_CODE_NAMES,
    },
};

/// Options of a table; missing ones are detected.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The delimiter; `None` detects it from the first 64 KiB.
    pub delimiter: Option<Delimiter>,
    /// Row 1 holds names; `None` means that it does if one of them is a known name of the code column.
    pub header: Option<bool>,
    /// The code column: a name in row 1, or a number from 1; `None` detects it by `code_names`.
    pub code_column: Option<String>,
    /// The expiry column, in the same way; `None` means that codes never expire.
    pub expires_at_column: Option<String>,
    /// The attribute columns, in the same way and with commas between them; `*` means all others.
    pub attribute_columns: Option<String>,
    /// The encoding of the text; `None` detects it.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// The sheet of a workbook; `None` means the first that is not hidden.
    pub sheet: Option<String>,
    /// Known names of the code column, in order of preference. Letters must be lower case without accents, and blanks, `-`
    /// and `_` left out: the names in the delivery are folded like that and compared. The default is `code` and `codes`.
    pub code_names: &'static [&'static str],
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            header: None,
            code_column: None,
            expires_at_column: None,
            attribute_columns: None,
            encoding: None,
            sheet: None,
            code_names: DEFAULT_CODE_NAMES,
        }
    }
}

impl TableOptions {
    /// Returns true if the header may be below the first row. Then that has one cell, such as a title; of several, one must
    /// be chosen.
    pub(crate) fn searches_header(&self) -> bool {
        self.header.is_none() && self.code_column.is_none()
    }

    pub(crate) fn column_selection(&self) -> ColumnSelection {
        let parse = |column: &Option<String>| column.as_deref().and_then(ColumnRef::parse);
        ColumnSelection {
            codes: parse(&self.code_column),
            expiries: parse(&self.expires_at_column),
            attributes: self
                .attribute_columns
                .as_deref()
                .map_or_else(AttributeColumns::default, AttributeColumns::parse),
            code_names: self.code_names,
        }
    }
}

/// Layout of a table, as options named it or as it was detected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// The delimiter; `None` in a file of one column and in a workbook.
    pub delimiter: Option<Delimiter>,
    /// Row 1 was read as names.
    pub header: bool,
    /// The code column: its name in the header, else its number from 1.
    pub code_column: String,
    /// The expiry column, in the same way.
    pub expires_at_column: Option<String>,
    /// The attribute columns, in the same way and with commas between them.
    pub attribute_columns: Option<String>,
}

/// Position and width of a record.
pub(crate) struct Record {
    /// The line on which the record starts, from 1.
    pub(crate) line: u32,
    pub(crate) columns: usize,
}

/// Iterates over the records of a table.
pub(crate) trait Records {
    /// Reads one record and passes each piece of each cell to `keep`, with its column from 0.
    fn next<E>(&mut self, keep: impl FnMut(usize, &[u8])) -> Result<Option<Record>, ReadError<E>>;

    /// Reads up to the first row that is not blank, and returns its line and cells.
    fn first_row<E>(&mut self) -> Result<Option<RowCells>, ReadError<E>> {
        loop {
            let mut cells = Vec::new();
            let record = self.next(|column, piece| {
                if column < header::MAX_COLUMNS {
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

    /// Reads the rows after the first among which the header may be. Fails if it is.
    fn rows_below_first<E>(
        &mut self,
        selection: &ColumnSelection,
    ) -> Result<Vec<RowCells>, ReadError<E>> {
        let mut rows = Vec::new();
        while rows.len() < header::MAX_TITLE_ROWS
            && let Some((line, row)) = self.first_row()?
        {
            header::check_below_first(line, &row, selection)?;
            rows.push((line, row));
        }
        Ok(rows)
    }
}

/// The line of a row, and its cells.
type RowCells = (u32, Vec<Cell>);

/// Pushes each row of a table that is not blank into the sink.
pub(crate) fn read_table<E>(
    records: &mut impl Records,
    delimiter: Option<Delimiter>,
    options: &TableOptions,
    rules: RowRules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<TableLayout, ReadError<E>> {
    let (line, first_row) = records.first_row()?.ok_or(DeliveryFault::Empty)?;
    let layout = header::layout(&first_row, options.header, &options.column_selection())?;
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
            .map(|_| column_list(&layout.attribute_columns, &names)),
    };
    let mut builder = RowBuilder::new(&layout, &names, rules);
    if !layout.header {
        let mut rows = vec![(line, first_row)];
        if options.searches_header() {
            rows.extend(records.rows_below_first(&options.column_selection())?);
        }
        for (line, row) in rows {
            for (column, cell) in row.into_iter().enumerate() {
                builder.put(column, cell);
            }
            sink(builder.finish_row(line)).map_err(ReadError::Sink)?;
        }
    }
    let mut pushed = false;
    while let Some(Record { line, columns }) =
        records.next(|column, piece| builder.push(column, piece))?
    {
        if columns == 1 && builder.is_blank() {
            builder.clear();
        } else {
            sink(builder.finish_row(line)).map_err(ReadError::Sink)?;
            pushed = true;
        }
    }
    if layout.header && !pushed {
        return Err(DeliveryFault::OnlyHeader.into());
    }
    Ok(read)
}

/// Formats columns as an option that selects them again: by name, or by number if the name would be split at a comma or
/// select another column.
fn column_list(columns: &[usize], names: &[String]) -> String {
    let reference = |(place, name): (usize, &String)| {
        let is_name = matches!(ColumnRef::parse(name), Some(ColumnRef::Named(_)));
        if is_name && !name.contains(',') && name != "*" && !names[..place].contains(name) {
            name.clone()
        } else {
            (columns[place] + 1).to_string()
        }
    };
    let references: Vec<String> = names.iter().enumerate().map(reference).collect();
    references.join(",")
}

/// Collects the cells of a row in the columns of a layout.
struct RowBuilder {
    /// By column: the index of its cell in `cells`.
    places: Vec<Option<usize>>,
    /// The cells of the code, the expiry, and the attributes.
    cells: Vec<Cell>,
    /// The cell of the first column, if it is none of them: a row with nothing but blanks is skipped.
    first: Cell,
    attributes: Attributes,
    rules: RowRules,
}

impl RowBuilder {
    fn new(layout: &ColumnLayout, names: &[String], rules: RowRules) -> Self {
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

    fn finish_row(&mut self, line: u32) -> Row {
        for (place, cell) in self.cells[2..].iter().enumerate() {
            self.attributes.add(place, cell.text());
        }
        let code = self.cells[0].code(self.rules.max_code_chars);
        let expiry = self.cells[1].text();
        let row = Row::new(line, code, expiry, self.attributes.take(), self.rules.zone);
        self.clear();
        row
    }

    fn clear(&mut self) {
        self.first.clear();
        self.cells.iter_mut().for_each(Cell::clear);
    }
}
