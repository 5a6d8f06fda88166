//! Reads a workbook in the OASIS format (ODS), such as of Calc: a zip whose `content.xml` holds all sheets.

use std::{collections::HashSet, io};

use quick_xml::events::{BytesStart, Event};

use super::{DAMAGED, MAX_CELL_FORMATS, MAX_COLUMNS, Sheet, add_sheet, record};
use crate::{
    DeliveryFault, ReadError,
    archive::Archive,
    numbers::NumberFormat,
    table::{Record, Records},
    xml::{XmlReader, append, attribute},
};

/// Most bytes of the cells of a row, which is held because it may be repeated.
const MAX_ROW_BYTES: usize = 1024 * 1024;
/// Most bytes of the cells of a sheet that repetitions add. One row of a small file can stand for a million.
const MAX_REPEATED_BYTES: usize = 256 * 1024 * 1024;
/// Most blanks that one element stands for; a code has at most 1,024 characters.
const MAX_BLANKS: usize = 1024;

/// The part with all sheets.
const CONTENT: &str = "content.xml";

/// A workbook whose content is not encrypted.
pub(super) struct Ods {
    archive: Archive,
    limit: u64,
}

impl Ods {
    /// Opens a workbook whose content may be unpacked to `limit` bytes.
    pub(super) fn open(archive: Archive, limit: u64) -> io::Result<(Self, Vec<Sheet>)> {
        let mut workbook = Self { archive, limit };
        workbook.check_password()?;
        let sheets = workbook.read_sheets()?;
        Ok((workbook, sheets))
    }

    /// Reads the rows of a sheet, from the first.
    pub(super) fn rows(&mut self, sheet: usize) -> io::Result<OdsRows> {
        let mut xml = self.part(CONTENT)?.ok_or(DAMAGED)?;
        let mut tables = 0;
        loop {
            if let Event::Start(element) = xml.next()?.ok_or(DAMAGED)?
                && element.name().as_ref() == "table:table"
            {
                if tables == sheet {
                    return Ok(OdsRows::new(xml));
                }
                tables += 1;
            }
        }
    }

    fn part(&mut self, name: &str) -> io::Result<Option<XmlReader>> {
        XmlReader::open(&mut self.archive, name, self.limit, self.limit)
    }

    fn check_password(&mut self) -> io::Result<()> {
        let Some(mut xml) = self.part("META-INF/manifest.xml")? else {
            return Ok(());
        };
        while let Some(event) = xml.next()? {
            if let Event::Start(element) = event
                && element.local_name().as_ref() == "encryption-data"
            {
                return Err(DeliveryFault::PasswordProtected.into());
            }
        }
        Ok(())
    }

    fn read_sheets(&mut self) -> io::Result<Vec<Sheet>> {
        let mut xml = self.part(CONTENT)?.ok_or(DAMAGED)?;
        let mut sheets = Vec::new();
        let mut hidden_styles = HashSet::new();
        let mut style = String::new();
        while let Some(event) = xml.next()? {
            let Event::Start(element) = event else {
                continue;
            };
            match element.name().as_ref() {
                "style:style" => style = attribute(&element, "style:name")?.unwrap_or_default(),
                "style:table-properties"
                    if attribute(&element, "table:display")?.as_deref() == Some("false") =>
                {
                    if hidden_styles.len() == MAX_CELL_FORMATS {
                        return Err(DAMAGED.into());
                    }
                    hidden_styles.insert(style.clone());
                }
                "table:table" => {
                    let name = attribute(&element, "table:name")?.unwrap_or_default();
                    let style = attribute(&element, "table:style-name")?;
                    let hidden = style.is_some_and(|style| hidden_styles.contains(&style));
                    add_sheet(&mut sheets, name, hidden)?;
                }
                _ => {}
            }
        }
        Ok(sheets)
    }
}

/// Iterates over the rows of a sheet.
pub(crate) struct OdsRows {
    xml: XmlReader,
    /// The number of the next row, from 1.
    next_line: u32,
    ended: bool,
    row: RepeatedRow,
    /// Bytes that repetitions may still add.
    repeats_left: usize,
    pub(super) hidden: usize,
}

/// A row with its repetitions that are not returned yet.
#[derive(Default)]
struct RepeatedRow {
    cells: Vec<RepeatedCell>,
    /// The number of columns up to the last one that is filled.
    columns: usize,
    /// The bytes of all cells, with one for each cell, and of those that are repetitions of a cell.
    bytes: usize,
    repeated_bytes: usize,
    left: u32,
}

/// A cell that is not blank, and the columns that it fills.
struct RepeatedCell {
    column: usize,
    count: usize,
    text: String,
}

impl OdsRows {
    fn new(xml: XmlReader) -> Self {
        Self {
            xml,
            next_line: 1,
            ended: false,
            row: RepeatedRow::default(),
            repeats_left: MAX_REPEATED_BYTES,
            hidden: 0,
        }
    }

    /// Reads up to the next row that is neither blank nor hidden. Returns false after the last.
    fn enter_row(&mut self) -> io::Result<bool> {
        while !self.ended {
            let (repeated, is_hidden) = match self.xml.next()?.ok_or(DAMAGED)? {
                Event::Start(element) if element.name().as_ref() == "table:table-row" => {
                    let visibility = attribute(&element, "table:visibility")?;
                    let is_hidden = visibility.is_some_and(|visibility| visibility != "visible");
                    (count(&element, "table:number-rows-repeated")?, is_hidden)
                }
                Event::End(element) if element.name().as_ref() == "table:table" => {
                    self.ended = true;
                    continue;
                }
                _ => continue,
            };
            self.read_cells()?;
            if self.row.columns == 0 {
                self.next_line = self.next_line.saturating_add(repeated);
            } else if is_hidden {
                self.next_line = self.next_line.saturating_add(repeated);
                self.hidden = self.hidden.saturating_add(repeated as usize);
            } else {
                self.row.left = repeated;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the cells of a row to its end.
    fn read_cells(&mut self) -> io::Result<()> {
        self.row = RepeatedRow::default();
        let (mut next, mut bytes) = (0_usize, 0);
        loop {
            let (value, count) = match self.xml.next()?.ok_or(DAMAGED)? {
                Event::Start(element) => {
                    let value = match element.name().as_ref() {
                        "table:table-cell" => CellValue::of(&element)?,
                        // Part of a merged cell, which does not show it.
                        "table:covered-table-cell" => CellValue::Shown(String::new()),
                        _ => continue,
                    };
                    let count = count(&element, "table:number-columns-repeated")?;
                    (value, count as usize)
                }
                Event::End(element) if element.name().as_ref() == "table:table-row" => {
                    return Ok(());
                }
                _ => continue,
            };
            let text = value.show(self.read_text()?);
            let column = next;
            next = next.saturating_add(count);
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                continue;
            }
            let text = text.unwrap_or_default();
            bytes += text.len();
            if next > MAX_COLUMNS || bytes > MAX_ROW_BYTES {
                return Err(DAMAGED.into());
            }
            self.row.columns = next;
            let cell_bytes = text.len() + 1;
            self.row.bytes += cell_bytes * count;
            self.row.repeated_bytes += cell_bytes * (count - 1);
            self.row.cells.push(RepeatedCell {
                column,
                count,
                text,
            });
        }
    }

    /// Reads a cell to its end. Returns the text of its paragraphs, without comments and drawings.
    fn read_text(&mut self) -> io::Result<String> {
        let mut text = String::new();
        let (mut depth, mut paragraphs) = (0_usize, 0_usize);
        let mut inside = false;
        loop {
            match self.xml.next()?.ok_or(DAMAGED)? {
                Event::Start(element) => {
                    match element.name().as_ref() {
                        "text:p" if depth == 0 => {
                            if paragraphs > 0 {
                                text.push('\n');
                            }
                            paragraphs += 1;
                            inside = true;
                        }
                        "text:s" if inside => {
                            let blanks = count(&element, "text:c")? as usize;
                            text.extend(std::iter::repeat_n(' ', blanks.min(MAX_BLANKS)));
                        }
                        "text:tab" if inside => text.push('\t'),
                        "text:line-break" if inside => text.push('\n'),
                        _ => {}
                    }
                    depth += 1;
                }
                // The end of the cell itself.
                Event::End(_) if depth == 0 => return Ok(text),
                Event::End(_) => {
                    depth -= 1;
                    inside &= depth > 0;
                }
                event if inside => append(&mut text, &event),
                _ => {}
            }
            if text.len() > MAX_ROW_BYTES {
                return Err(DAMAGED.into());
            }
        }
    }
}

/// Reads a number of repetitions; 1 if it is absent.
fn count(element: &BytesStart, name: &str) -> io::Result<u32> {
    match attribute(element, name)? {
        Some(count) => match count.trim().parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(DAMAGED.into()),
        },
        None => Ok(1),
    }
}

/// The value of a cell in its attributes. Its text shows the value in the language of the user.
enum CellValue {
    Text,
    Shown(String),
    Number(f64),
    /// An amount of money or a percentage, which is never a code.
    Amount(f64),
    /// The error of a formula.
    Error,
}

impl CellValue {
    fn of(element: &BytesStart) -> io::Result<Self> {
        if attribute(element, "calcext:value-type")?.is_some_and(|kind| kind == "error") {
            return Ok(Self::Error);
        }
        let kind = attribute(element, "office:value-type")?.unwrap_or_default();
        let number = || -> io::Result<Option<f64>> {
            Ok(attribute(element, "office:value")?.and_then(|value| value.trim().parse().ok()))
        };
        let value = match kind.as_str() {
            "float" => number()?.map(Self::Number),
            "currency" | "percentage" => number()?.map(Self::Amount),
            "date" => attribute(element, "office:date-value")?.map(Self::Shown),
            "boolean" => attribute(element, "office:boolean-value")?
                .map(|value| Self::Shown(value.to_uppercase())),
            _ => attribute(element, "office:string-value")?
                .filter(|value| !value.is_empty())
                .map(Self::Shown),
        };
        Ok(value.unwrap_or(Self::Text))
    }

    /// Returns the text of the cell as a code or date needs it; `None` for the error of a formula.
    fn show(self, text: String) -> Option<String> {
        match self {
            Self::Text => Some(text),
            Self::Shown(value) => Some(value),
            Self::Number(number) if shows_digits(&text, number) => Some(text),
            Self::Number(number) | Self::Amount(number) => {
                Some(NumberFormat::General.show(number, false))
            }
            Self::Error => None,
        }
    }
}

/// Returns true if a text shows all digits of a whole number, as with the format `00000` or `"GC-"0000`, and neither
/// separates groups of them nor has decimals.
fn shows_digits(text: &str, number: f64) -> bool {
    const SEPARATORS: [char; 6] = ['.', ',', '\'', '’', '\u{a0}', '\u{202f}'];
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let whole = NumberFormat::General.show(number, false);
    !text.contains(SEPARATORS) && digits.trim_start_matches('0') == whole.trim_start_matches('0')
}

impl Records for OdsRows {
    fn next<E>(
        &mut self,
        mut keep: impl FnMut(usize, &[u8]),
    ) -> Result<Option<Record>, ReadError<E>> {
        let repeats = if self.row.left > 0 {
            self.row.bytes
        } else if self.enter_row()? {
            self.row.repeated_bytes
        } else {
            return Ok(None);
        };
        self.repeats_left = self.repeats_left.checked_sub(repeats).ok_or(DAMAGED)?;
        for cell in &self.row.cells {
            for column in cell.column..cell.column + cell.count {
                keep(column, cell.text.as_bytes());
            }
        }
        let line = self.next_line;
        self.next_line = line.saturating_add(1);
        self.row.left -= 1;
        Ok(record(line, self.row.columns))
    }
}
