//! Reads a workbook of Excel since 2007 (XLSX): a zip of XML parts, of which few are needed.
//!
//! The strings of all sheets are held in memory; the rows of the sheet are streamed. Each token of markup has a limit, so
//! the memory is bounded by the bytes that were unpacked.

use std::{collections::HashMap, io};

use quick_xml::events::Event;

use super::{
    DAMAGED, MAX_CELL_FORMATS, MAX_NAME_BYTES, MAX_SHEETS, SharedStrings, Sheet, add_sheet,
    xlsx_rows::XlsxRows,
};
use crate::{
    archive::Archive,
    numbers::NumberFormat,
    xml::{XmlReader, append, attribute},
};

/// The parts of a workbook that are read.
pub(super) struct Xlsx {
    archive: Archive,
    /// The names of the parts of the sheets.
    sheet_parts: Vec<String>,
    pub(super) strings: SharedStrings,
    pub(super) formats: Vec<NumberFormat>,
    pub(super) from_1904: bool,
    limit: u64,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl Xlsx {
    /// Opens a workbook whose parts may be unpacked to `limit` bytes.
    pub(super) fn open(archive: Archive, limit: u64) -> io::Result<(Self, Vec<Sheet>)> {
        let mut book = Self {
            archive,
            sheet_parts: Vec::new(),
            strings: SharedStrings::default(),
            formats: Vec::new(),
            from_1904: false,
            limit,
            left: limit,
        };
        let relationships = book.read_relationships()?;
        let sheets = book.read_sheets(&relationships)?;
        let part = |kind: &str| {
            relationships
                .values()
                .find(|relationship| relationship.kind.ends_with(kind))
        };
        if let Some(relationship) = part("/styles") {
            book.read_formats(&relationship.target)?;
        }
        if let Some(relationship) = part("/sharedStrings") {
            book.read_strings(&relationship.target)?;
        }
        Ok((book, sheets))
    }

    /// Reads the rows of a sheet, from the first.
    pub(super) fn rows(&mut self, sheet: usize) -> io::Result<XlsxRows<'_>> {
        let part = self.sheet_parts[sheet].clone();
        let xml = self.part(&part)?.ok_or(DAMAGED)?;
        Ok(XlsxRows::new(self, xml))
    }

    fn part(&mut self, name: &str) -> io::Result<Option<XmlReader>> {
        XmlReader::open(&mut self.archive, name, self.left, self.limit)
    }

    /// Reads the relationships of the workbook, by their ids.
    fn read_relationships(&mut self) -> io::Result<HashMap<String, Relationship>> {
        let mut relationships = HashMap::new();
        let mut xml = self.part("xl/_rels/workbook.xml.rels")?.ok_or(DAMAGED)?;
        while let Some(event) = xml.next()? {
            if let Event::Start(element) = event
                && element.local_name().as_ref() == "Relationship"
                && let Some(id) = attribute(&element, "Id")?
                && let Some(kind) = attribute(&element, "Type")?
                && let Some(target) = attribute(&element, "Target")?
            {
                let target = match target.strip_prefix('/') {
                    Some(whole) => whole.to_owned(),
                    None => format!("xl/{target}"),
                };
                if relationships.len() == MAX_SHEETS || target.len() > MAX_NAME_BYTES {
                    return Err(DAMAGED.into());
                }
                relationships.insert(id, Relationship { kind, target });
            }
        }
        self.left -= xml.unpacked();
        Ok(relationships)
    }

    fn read_sheets(
        &mut self,
        relationships: &HashMap<String, Relationship>,
    ) -> io::Result<Vec<Sheet>> {
        let mut sheets = Vec::new();
        let mut xml = self.part("xl/workbook.xml")?.ok_or(DAMAGED)?;
        while let Some(event) = xml.next()? {
            let Event::Start(element) = event else {
                continue;
            };
            match element.local_name().as_ref() {
                "workbookPr" => {
                    let value = attribute(&element, "date1904")?;
                    self.from_1904 = value.is_some_and(|value| value == "1" || value == "true");
                }
                "sheet" => {
                    let relationship =
                        attribute(&element, "r:id")?.and_then(|id| relationships.get(&id));
                    let name = attribute(&element, "name")?.unwrap_or_default();
                    let hidden =
                        attribute(&element, "state")?.is_some_and(|state| state != "visible");
                    if let Some(relationship) = relationship
                        .filter(|relationship| relationship.kind.ends_with("/worksheet"))
                    {
                        add_sheet(&mut sheets, name, hidden)?;
                        self.sheet_parts.push(relationship.target.clone());
                    }
                }
                _ => {}
            }
        }
        self.left -= xml.unpacked();
        Ok(sheets)
    }

    /// Reads the number formats, by the style index of cells.
    fn read_formats(&mut self, part: &str) -> io::Result<()> {
        let Some(mut xml) = self.part(part)? else {
            return Ok(());
        };
        let mut custom = HashMap::new();
        let mut of_cells = false;
        while let Some(event) = xml.next()? {
            match event {
                Event::Start(element) => match element.local_name().as_ref() {
                    "numFmt" => {
                        if let Some(id) = attribute(&element, "numFmtId")?
                            && let Some(code) = attribute(&element, "formatCode")?
                        {
                            if custom.len() == MAX_CELL_FORMATS {
                                return Err(DAMAGED.into());
                            }
                            custom.insert(id, NumberFormat::parse(&code));
                        }
                    }
                    "cellXfs" => of_cells = true,
                    "xf" if of_cells => {
                        let id = attribute(&element, "numFmtId")?.unwrap_or_default();
                        if self.formats.len() == MAX_CELL_FORMATS {
                            return Err(DAMAGED.into());
                        }
                        let format = custom.get(&id).cloned();
                        self.formats
                            .push(format.unwrap_or_else(|| NumberFormat::built_in(&id)));
                    }
                    _ => {}
                },
                Event::End(element) if element.local_name().as_ref() == "cellXfs" => break,
                _ => {}
            }
        }
        self.left -= xml.unpacked();
        Ok(())
    }

    fn read_strings(&mut self, part: &str) -> io::Result<()> {
        let Some(mut xml) = self.part(part)? else {
            return Ok(());
        };
        let mut text = String::new();
        loop {
            match xml.next()? {
                None => break,
                Some(Event::Start(element)) if element.local_name().as_ref() == "si" => {
                    read_string(&mut xml, "si", &mut text)?;
                    self.strings.push(&text)?;
                }
                Some(_) => {}
            }
        }
        self.left -= xml.unpacked();
        Ok(())
    }
}

struct Relationship {
    kind: String,
    /// The name of the target part.
    target: String,
}

/// Replaces `text` with the text of the element `name`, whose start was just read. Phonetic text is left out.
pub(super) fn read_string(xml: &mut XmlReader, name: &str, text: &mut String) -> io::Result<()> {
    text.clear();
    let (mut inside, mut phonetic) = (false, false);
    loop {
        match xml.next()?.ok_or(DAMAGED)? {
            Event::Start(element) => match element.local_name().as_ref() {
                "t" => inside = true,
                "rPh" => phonetic = true,
                _ => {}
            },
            Event::End(element) => match element.local_name().as_ref() {
                "t" => inside = false,
                "rPh" => phonetic = false,
                other if other == name => break,
                _ => {}
            },
            event if inside && !phonetic => append(text, &event),
            _ => {}
        }
    }
    unescape(text);
    Ok(())
}

/// Resolves escapes such as `_x000D_`, which workbooks use for characters that XML cannot contain.
pub(super) fn unescape(text: &mut String) {
    let mut from = 0;
    while let Some(place) = text[from..].find("_x").map(|place| from + place) {
        let character = text
            .get(place + 2..place + 7)
            .and_then(|escape| escape.strip_suffix('_'))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        if let Some(character) = character {
            text.replace_range(place..place + 7, character.encode_utf8(&mut [0; 4]));
            from = place + character.len_utf8();
        } else {
            from = place + 2;
        }
    }
}
