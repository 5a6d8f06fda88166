//! The rows of a sheet of an XLSX workbook.

use std::io;

use quick_xml::events::Event;

use super::{
    DAMAGED, MAX_COLUMNS, record,
    xlsx::{Xlsx, read_string, unescape},
};
use crate::{
    ReadError,
    numbers::NumberFormat,
    table::{Record, Records},
    xml::{XmlReader, append, attribute},
};

/// Iterates over the rows of a sheet.
pub(crate) struct XlsxRows<'w> {
    workbook: &'w Xlsx,
    xml: XmlReader,
    /// The number of the row that was read last, from 1.
    line: u32,
    is_hidden: bool,
    pub(super) hidden: usize,
    value: String,
}

impl<'w> XlsxRows<'w> {
    pub(super) fn new(workbook: &'w Xlsx, xml: XmlReader) -> Self {
        Self {
            workbook,
            xml,
            line: 0,
            is_hidden: false,
            hidden: 0,
            value: String::new(),
        }
    }

    /// Advances to the next row; returns false after the last.
    fn enter_row(&mut self) -> io::Result<bool> {
        while let Some(event) = self.xml.next()? {
            match event {
                Event::Start(element) if element.local_name().as_ref() == "row" => {
                    self.line = match attribute(&element, "r")? {
                        Some(number) => number.trim().parse().map_err(|_| DAMAGED)?,
                        None => self.line.saturating_add(1),
                    };
                    self.is_hidden = attribute(&element, "hidden")?
                        .is_some_and(|hidden| hidden == "1" || hidden == "true");
                    return Ok(true);
                }
                Event::End(element) if element.local_name().as_ref() == "sheetData" => {
                    return Ok(false);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Advances to the next cell of a row; returns `None` after the last.
    fn enter_cell(&mut self) -> io::Result<Option<CellHeader>> {
        while let Some(event) = self.xml.next()? {
            match event {
                Event::Start(element) if element.local_name().as_ref() == "c" => {
                    let column = match attribute(&element, "r")? {
                        Some(place) => Some(column(&place).ok_or(DAMAGED)?),
                        None => None,
                    };
                    let style = attribute(&element, "s")?.and_then(|style| style.parse().ok());
                    let kind = attribute(&element, "t")?.unwrap_or_default();
                    return Ok(Some(CellHeader {
                        column,
                        style,
                        kind,
                    }));
                }
                Event::End(element) if element.local_name().as_ref() == "row" => return Ok(None),
                _ => {}
            }
        }
        Err(DAMAGED.into())
    }

    /// Reads a cell to its end; `value` is then the text that a spreadsheet program shows. Returns false if it is the error
    /// of a formula, which reads as blank.
    fn read_cell(&mut self, head: &CellHeader) -> io::Result<bool> {
        self.value.clear();
        let mut inside = false;
        loop {
            match self.xml.next()?.ok_or(DAMAGED)? {
                Event::Start(element) => match element.local_name().as_ref() {
                    "is" => read_string(&mut self.xml, "is", &mut self.value)?,
                    "v" => inside = head.kind != "inlineStr",
                    _ => {}
                },
                Event::End(element) => match element.local_name().as_ref() {
                    "v" => inside = false,
                    "c" => break,
                    _ => {}
                },
                event if inside => append(&mut self.value, &event),
                _ => {}
            }
        }
        let format = head
            .style
            .and_then(|style| self.workbook.formats.get(style));
        match head.kind.as_str() {
            "s" if !self.value.is_empty() => {
                let index = self.value.trim().parse().ok();
                let text = index.and_then(|index| self.workbook.strings.get(index));
                text.ok_or(DAMAGED)?.clone_into(&mut self.value);
            }
            "str" => unescape(&mut self.value),
            "b" => {
                let shown = if self.value == "1" { "TRUE" } else { "FALSE" };
                shown.clone_into(&mut self.value);
            }
            "e" => {
                self.value.clear();
                return Ok(false);
            }
            "" | "n" => {
                if let Ok(number) = self.value.trim().parse() {
                    let format = format.unwrap_or(&NumberFormat::General);
                    self.value = format.show(number, self.workbook.from_1904);
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Records for XlsxRows<'_> {
    fn next<E>(
        &mut self,
        mut keep: impl FnMut(usize, &[u8]),
    ) -> Result<Option<Record>, ReadError<E>> {
        while self.enter_row()? {
            let (mut next, mut columns) = (0, 0);
            while let Some(head) = self.enter_cell()? {
                let column = head.column.unwrap_or(next);
                if column >= MAX_COLUMNS {
                    return Err(DAMAGED.into());
                }
                next = column + 1;
                let shown = self.read_cell(&head)?;
                if !shown || !self.value.trim().is_empty() {
                    columns = columns.max(column + 1);
                    if !self.is_hidden {
                        keep(column, self.value.as_bytes());
                    }
                }
            }
            match record(self.line, columns) {
                Some(_) if self.is_hidden => self.hidden += 1,
                Some(record) => return Ok(Some(record)),
                None => {}
            }
        }
        Ok(None)
    }
}

struct CellHeader {
    column: Option<usize>,
    style: Option<usize>,
    kind: String,
}

/// Parses the column of a reference such as `AB12`, from 0.
fn column(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_alphabetic);
    let column = letters.take(4).fold(0, |column, letter| {
        column * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1
    });
    (1..=MAX_COLUMNS).contains(&column).then(|| column - 1)
}
