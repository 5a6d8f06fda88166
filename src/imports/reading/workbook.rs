//! Reads a workbook (XLSX): a zip of XML parts, of which few matter here.
//!
//! The strings of all sheets are held in memory, the rows of the sheet pass through. Nothing that a part says of its own
//! size is believed, and each piece of markup has a limit, so what is held is bounded by what was really unpacked.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read},
};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{
    Fault,
    archive::Archive,
    code::printable,
    numbers::Format,
    sheet::SheetRows,
    unpack::{Bounded, open_entry},
};

/// The longest piece of markup or of text between two tags; a cell has 32,767 characters.
const LONGEST_PIECE: usize = 1024 * 1024;

/// The most sheets and links, and the longest name of one, in bytes; Excel has 31 characters.
const MAX_LINKS: usize = 10_000;
const MAX_NAME: usize = 1024;
/// The most formats of cells; Excel takes 65,490.
const MAX_STYLES: usize = 65_490;
/// The most strings. A sheet has 16 times as many cells, but each string is here once.
const MAX_STRINGS: usize = 16_000_000;

pub(super) const DAMAGED: Fault = Fault::Damaged { what: "workbook" };

/// A sheet that has rows.
struct Sheet {
    name: String,
    part: String,
    hidden: bool,
}

/// A workbook with its chosen sheet.
pub(super) struct Workbook {
    archive: Archive,
    sheets: Vec<Sheet>,
    chosen: usize,
    pub(super) strings: Strings,
    pub(super) formats: Vec<Format>,
    pub(super) from_1904: bool,
    limit: u64,
    /// What may still be unpacked.
    left: u64,
}

impl Workbook {
    /// Opens the named sheet, or the first that is not hidden.
    pub(super) fn open(
        archive: Archive,
        sheet: Option<&str>,
        (packed, unpacked): (u64, u64),
    ) -> io::Result<Self> {
        if archive.file.metadata()?.len() > packed {
            return Err(Fault::WorkbookTooLarge { limit: packed }.into());
        }
        let mut book = Self {
            archive,
            sheets: Vec::new(),
            chosen: 0,
            strings: Strings::default(),
            formats: Vec::new(),
            from_1904: false,
            limit: unpacked,
            left: unpacked,
        };
        let links = book.read_links()?;
        book.read_sheets(&links)?;
        book.chosen = book.choose(sheet)?;
        let part = |kind: &str| links.values().find(|link| link.kind.ends_with(kind));
        if let Some(link) = part("/styles") {
            book.read_formats(&link.target)?;
        }
        if let Some(link) = part("/sharedStrings") {
            book.read_strings(&link.target)?;
        }
        Ok(book)
    }

    pub(super) fn sheet(&self) -> &str {
        &self.sheets[self.chosen].name
    }

    /// The names of the sheets that are not hidden.
    pub(super) fn sheets(&self) -> impl Iterator<Item = &str> {
        let shown = self.sheets.iter().filter(|sheet| !sheet.hidden);
        shown.map(|sheet| sheet.name.as_str())
    }

    /// The rows of the chosen sheet, from the first.
    pub(super) fn rows(&mut self) -> io::Result<SheetRows<'_>> {
        let part = self.sheets[self.chosen].part.clone();
        let xml = self.part(&part)?.ok_or(DAMAGED)?;
        Ok(SheetRows::new(self, xml))
    }

    fn choose(&self, wanted: Option<&str>) -> io::Result<usize> {
        let position = |fits: &dyn Fn(&Sheet) -> bool| self.sheets.iter().position(fits);
        match wanted {
            None => position(&|sheet| !sheet.hidden).ok_or_else(|| Fault::NoSheet.into()),
            Some(wanted) => position(&|sheet| sheet.name == wanted)
                .or_else(|| {
                    position(&|sheet| sheet.name.to_lowercase() == wanted.trim().to_lowercase())
                })
                .ok_or_else(|| {
                    Fault::NoSuchSheet {
                        wanted: printable(wanted),
                        sheets: self.sheets().map(printable).collect(),
                    }
                    .into()
                }),
        }
    }

    fn part(&mut self, name: &str) -> io::Result<Option<Xml>> {
        let Some(index) = self.archive.find(name) else {
            return Ok(None);
        };
        let entry = self.archive.entry(index)?;
        let bytes = Bounded::new(open_entry(&self.archive.file, entry), self.left, self.limit);
        Ok(Some(Xml::new(bytes)))
    }

    /// What the workbook links to, by the link's id.
    fn read_links(&mut self) -> io::Result<HashMap<String, Link>> {
        let mut links = HashMap::new();
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
                if links.len() == MAX_LINKS || target.len() > MAX_NAME {
                    return Err(DAMAGED.into());
                }
                links.insert(id, Link { kind, target });
            }
        }
        self.left -= xml.unpacked();
        Ok(links)
    }

    fn read_sheets(&mut self, links: &HashMap<String, Link>) -> io::Result<()> {
        let mut xml = self.part("xl/workbook.xml")?.ok_or(DAMAGED)?;
        while let Some(event) = xml.next()? {
            let Event::Start(element) = event else {
                continue;
            };
            match element.local_name().as_ref() {
                "workbookPr" => {
                    let told = attribute(&element, "date1904")?;
                    self.from_1904 = told.is_some_and(|told| told == "1" || told == "true");
                }
                "sheet" => {
                    let link = attribute(&element, "r:id")?.and_then(|id| links.get(&id));
                    let name = attribute(&element, "name")?.unwrap_or_default();
                    let hidden =
                        attribute(&element, "state")?.is_some_and(|state| state != "visible");
                    if let Some(link) = link.filter(|link| link.kind.ends_with("/worksheet")) {
                        if self.sheets.len() == MAX_LINKS || name.len() > MAX_NAME {
                            return Err(DAMAGED.into());
                        }
                        let part = link.target.clone();
                        self.sheets.push(Sheet { name, part, hidden });
                    }
                }
                _ => {}
            }
        }
        self.left -= xml.unpacked();
        Ok(())
    }

    /// How the numbers of cells are shown, by the cell's style.
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
                            if custom.len() == MAX_STYLES {
                                return Err(DAMAGED.into());
                            }
                            custom.insert(id, Format::parse(&code));
                        }
                    }
                    "cellXfs" => of_cells = true,
                    "xf" if of_cells => {
                        let id = attribute(&element, "numFmtId")?.unwrap_or_default();
                        if self.formats.len() == MAX_STYLES {
                            return Err(DAMAGED.into());
                        }
                        let format = custom.get(&id).cloned();
                        self.formats
                            .push(format.unwrap_or_else(|| Format::built_in(&id)));
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

struct Link {
    kind: String,
    /// The name of the part.
    target: String,
}

/// Strings one after the other, so that a million empty ones take no room.
#[derive(Default)]
pub(super) struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }
}

/// An attribute of an element, by its name with the prefix.
pub(super) fn attribute(element: &BytesStart, name: &str) -> io::Result<Option<String>> {
    let attribute = element.try_get_attribute(name).map_err(|_| DAMAGED)?;
    attribute
        .map(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            Ok(value.map_err(|_| DAMAGED)?.into_owned())
        })
        .transpose()
}

/// The XML of a part. Empty elements come as a start and an end.
pub(super) struct Xml {
    reader: Reader<BufReader<Pieces>>,
    buffer: Vec<u8>,
}

impl Xml {
    fn new(input: Bounded<Box<dyn Read + Send>>) -> Self {
        let pieces = Pieces { input, piece: 0 };
        let mut reader = Reader::from_reader(BufReader::with_capacity(64 * 1024, pieces));
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        // It would keep the names of all open elements.
        config.check_end_names = false;
        Self {
            reader,
            buffer: Vec::new(),
        }
    }

    /// The next event; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Event<'_>>> {
        self.buffer.clear();
        match self.reader.read_event_into(&mut self.buffer) {
            Ok(Event::Eof) => Ok(None),
            Ok(event) => Ok(Some(event)),
            Err(quick_xml::Error::Io(error)) => {
                Err(super::fault_of(&error).cloned().unwrap_or(DAMAGED).into())
            }
            Err(_) => Err(DAMAGED.into()),
        }
    }

    /// The bytes that came so far.
    fn unpacked(&self) -> u64 {
        self.reader.get_ref().get_ref().input.passed()
    }

    /// Puts the text of an element with this name in place of `text`; the reader stands behind its start. How a word is
    /// read aloud is no part of it.
    pub(super) fn read_string(&mut self, name: &str, text: &mut String) -> io::Result<()> {
        text.clear();
        let (mut inside, mut aloud) = (false, false);
        loop {
            match self.next()?.ok_or(DAMAGED)? {
                Event::Start(element) => match element.local_name().as_ref() {
                    "t" => inside = true,
                    "rPh" => aloud = true,
                    _ => {}
                },
                Event::End(element) => match element.local_name().as_ref() {
                    "t" => inside = false,
                    "rPh" => aloud = false,
                    other if other == name => break,
                    _ => {}
                },
                event if inside && !aloud => append(text, &event),
                _ => {}
            }
        }
        unescape(text);
        Ok(())
    }
}

/// Adds what an event says as text.
pub(super) fn append(text: &mut String, event: &Event) {
    // More than any cell has; the rest would only take memory.
    if text.len() > LONGEST_PIECE {
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

/// Resolves what workbooks write for characters that XML does not have, as in `_x000D_`.
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

/// Ends with a fault where more comes without a tag than any workbook has: the parser holds a piece as a whole.
struct Pieces {
    input: Bounded<Box<dyn Read + Send>>,
    /// Bytes since a tag began.
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.piece = match buffer[..read].iter().rposition(|byte| *byte == b'<') {
            Some(place) => read - place,
            None => self.piece + read,
        };
        if self.piece > LONGEST_PIECE {
            return Err(DAMAGED.into());
        }
        Ok(read)
    }
}
