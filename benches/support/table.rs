//! Tables in Markdown, padded so that the source is readable too.

#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(titles: &[&str]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(titles);
        table
    }

    pub fn row(&mut self, cells: &[impl AsRef<str>]) {
        self.rows
            .push(cells.iter().map(|cell| cell.as_ref().to_owned()).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        for (index, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if index == 0 {
                for column in 0..row.len() {
                    let dashes = "-".repeat(width(column));
                    if column == 0 {
                        write!(f, "| {dashes} |")?;
                    } else {
                        write!(f, " {}: |", &dashes[1..])?;
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// A rate or a count with thousands separators.
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn times(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}")
    } else {
        format!("{ratio:.2}")
    }
}
