//! Reads a workbook (XLSX): a zip of XML parts, of which few are needed.
//!
//! The strings of all sheets are held in memory; the rows of the sheet are streamed. No declared size is trusted, and each
//! token of markup has a limit, so the memory is bounded by the bytes that were unpacked.
//!
//! The calamine crate is not used, for three reasons. Its cells do not show their number format, so a code `00042` that is
//! stored as the number 42 with the format `00000` would be read as `42`. Its ranges hold all cells of a sheet in memory.
//! It has no limit for the bytes that a part unpacks to, so a small file could exhaust the memory.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read},
};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use crate::{
    DeliveryFault,
    archive::Archive,
    code::printable,
    numbers::NumberFormat,
    sheet::SheetRows,
    unpack::{SizeLimitedReader, open_entry},
};

/// Longest token of markup, or text between two tags, in bytes; a cell has at most 32,767 characters.
const MAX_TOKEN_BYTES: usize = 1024 * 1024;

/// Most sheets, and most relationships.
const MAX_RELATIONSHIPS: usize = 10_000;
/// Longest name of a sheet or part, in bytes; Excel allows 31 characters.
const MAX_NAME_BYTES: usize = 1024;
/// Most cell formats; the limit of Excel.
const MAX_CELL_FORMATS: usize = 65_490;
/// Most shared strings. A sheet of Excel has 1,000 times as many cells, but each string is stored once.
const MAX_STRINGS: usize = 16_000_000;

pub(crate) const DAMAGED: DeliveryFault = DeliveryFault::Damaged { what: "workbook" };

/// A worksheet.
struct Sheet {
    name: String,
    part: String,
    hidden: bool,
}

/// A workbook with its chosen sheet.
pub(crate) struct Workbook {
    archive: Archive,
    sheets: Vec<Sheet>,
    chosen: usize,
    pub(crate) strings: SharedStrings,
    pub(crate) formats: Vec<NumberFormat>,
    pub(crate) from_1904: bool,
    limit: u64,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl Workbook {
    /// Opens a workbook at the named sheet, or at the first that is not hidden.
    pub(crate) fn open(
        archive: Archive,
        sheet: Option<&str>,
        (packed, unpacked): (u64, u64),
    ) -> io::Result<Self> {
        if archive.file.metadata()?.len() > packed {
            return Err(DeliveryFault::WorkbookTooLarge { limit: packed }.into());
        }
        let mut book = Self {
            archive,
            sheets: Vec::new(),
            chosen: 0,
            strings: SharedStrings::default(),
            formats: Vec::new(),
            from_1904: false,
            limit: unpacked,
            left: unpacked,
        };
        let relationships = book.read_relationships()?;
        book.read_sheets(&relationships)?;
        book.chosen = book.choose(sheet)?;
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
        Ok(book)
    }

    pub(crate) fn sheet(&self) -> &str {
        &self.sheets[self.chosen].name
    }

    /// The names of the sheets that are not hidden.
    pub(crate) fn sheets(&self) -> impl Iterator<Item = &str> {
        let shown = self.sheets.iter().filter(|sheet| !sheet.hidden);
        shown.map(|sheet| sheet.name.as_str())
    }

    /// Reads the rows of the chosen sheet, from the first.
    pub(crate) fn rows(&mut self) -> io::Result<SheetRows<'_>> {
        let part = self.sheets[self.chosen].part.clone();
        let xml = self.part(&part)?.ok_or(DAMAGED)?;
        Ok(SheetRows::new(self, xml))
    }

    fn choose(&self, wanted: Option<&str>) -> io::Result<usize> {
        let position = |fits: &dyn Fn(&Sheet) -> bool| self.sheets.iter().position(fits);
        match wanted {
            None => position(&|sheet| !sheet.hidden).ok_or_else(|| DeliveryFault::NoSheet.into()),
            Some(wanted) => position(&|sheet| sheet.name == wanted)
                .or_else(|| {
                    position(&|sheet| sheet.name.to_lowercase() == wanted.trim().to_lowercase())
                })
                .ok_or_else(|| {
                    DeliveryFault::NoSuchSheet {
                        wanted: printable(wanted),
                        sheets: self.sheets().map(printable).collect(),
                    }
                    .into()
                }),
        }
    }

    fn part(&mut self, name: &str) -> io::Result<Option<XmlReader>> {
        let Some(index) = self.archive.find(name) else {
            return Ok(None);
        };
        let entry = self.archive.entry(index)?;
        let bytes =
            SizeLimitedReader::new(open_entry(&self.archive.file, entry), self.left, self.limit);
        Ok(Some(XmlReader::new(bytes)))
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
                if relationships.len() == MAX_RELATIONSHIPS || target.len() > MAX_NAME_BYTES {
                    return Err(DAMAGED.into());
                }
                relationships.insert(id, Relationship { kind, target });
            }
        }
        self.left -= xml.unpacked();
        Ok(relationships)
    }

    fn read_sheets(&mut self, relationships: &HashMap<String, Relationship>) -> io::Result<()> {
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
                        if self.sheets.len() == MAX_RELATIONSHIPS || name.len() > MAX_NAME_BYTES {
                            return Err(DAMAGED.into());
                        }
                        let part = relationship.target.clone();
                        self.sheets.push(Sheet { name, part, hidden });
                    }
                }
                _ => {}
            }
        }
        self.left -= xml.unpacked();
        Ok(())
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
                    if self.strings.ends.len() == MAX_STRINGS {
                        return Err(DAMAGED.into());
                    }
                    xml.read_string("si", &mut text)?;
                    self.strings.push(&text);
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

/// Strings in one buffer, so that a million empty ones take little memory.
#[derive(Default)]
pub(crate) struct SharedStrings {
    text: String,
    ends: Vec<usize>,
}

impl SharedStrings {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }
}

/// Returns an attribute of an element, by its name with the prefix.
pub(crate) fn attribute(element: &BytesStart, name: &str) -> io::Result<Option<String>> {
    let attribute = element.try_get_attribute(name).map_err(|_| DAMAGED)?;
    attribute
        .map(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            Ok(value.map_err(|_| DAMAGED)?.into_owned())
        })
        .transpose()
}

/// Reads the XML of a part. An empty element is returned as a start and an end.
pub(crate) struct XmlReader {
    reader: Reader<BufReader<TokenLimitReader>>,
    buffer: Vec<u8>,
}

impl XmlReader {
    fn new(input: SizeLimitedReader<Box<dyn Read + Send>>) -> Self {
        let tokens = TokenLimitReader { input, token: 0 };
        let mut reader = Reader::from_reader(BufReader::with_capacity(64 * 1024, tokens));
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        // The check would hold the names of all open elements.
        config.check_end_names = false;
        Self {
            reader,
            buffer: Vec::new(),
        }
    }

    /// Returns the next event, or `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event<'_>>> {
        self.buffer.clear();
        match self.reader.read_event_into(&mut self.buffer) {
            Ok(Event::Eof) => Ok(None),
            Ok(event) => Ok(Some(event)),
            Err(quick_xml::Error::Io(error)) => {
                Err(crate::fault_of(&error).cloned().unwrap_or(DAMAGED).into())
            }
            Err(_) => Err(DAMAGED.into()),
        }
    }

    /// The number of unpacked bytes that were read.
    fn unpacked(&self) -> u64 {
        self.reader.get_ref().get_ref().input.passed()
    }

    /// Replaces `text` with the text of the element `name`, whose start was just read. Phonetic text is left out.
    pub(crate) fn read_string(&mut self, name: &str, text: &mut String) -> io::Result<()> {
        text.clear();
        let (mut inside, mut phonetic) = (false, false);
        loop {
            match self.next()?.ok_or(DAMAGED)? {
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
}

/// Appends the text of an event.
pub(crate) fn append(text: &mut String, event: &Event) {
    // No cell is longer; the rest would only take memory.
    if text.len() > MAX_TOKEN_BYTES {
        return;
    }
    match event {
        Event::Text(piece) => text.push_str(&piece.xml10_content()),
        Event::CData(piece) => text.push_str(&piece.xml10_content()),
        Event::GeneralRef(reference) => match reference.resolve_char_ref() {
            Ok(Some(character)) => text.push(character),
            _ => text.push(match &**reference {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => char::REPLACEMENT_CHARACTER,
            }),
        },
        _ => {}
    }
}

/// Resolves escapes such as `_x000D_`, which workbooks use for characters that XML cannot contain.
pub(crate) fn unescape(text: &mut String) {
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

/// Fails if a token exceeds its limit: the parser holds a whole token.
struct TokenLimitReader {
    input: SizeLimitedReader<Box<dyn Read + Send>>,
    /// Bytes since the last `<`.
    token: usize,
}

impl Read for TokenLimitReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.token = match buffer[..read].iter().rposition(|byte| *byte == b'<') {
            Some(place) => read - place,
            None => self.token + read,
        };
        if self.token > MAX_TOKEN_BYTES {
            return Err(DAMAGED.into());
        }
        Ok(read)
    }
}
