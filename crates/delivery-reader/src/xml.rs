//! Reads the XML of a part of a workbook in constant memory.

use std::io::{self, BufReader, Read};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use crate::{
    archive::Archive,
    unpack::{SizeLimitedReader, open_entry},
    workbook::DAMAGED,
};

/// Longest token of markup, or text between two tags, in bytes; a cell has at most 32,767 characters.
const MAX_TOKEN_BYTES: usize = 1024 * 1024;

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
    /// Opens a part of an archive; `None` if there is none of this name. `limit` is named in the fault; `left` is the part
    /// of it that is not used up.
    pub(crate) fn open(
        archive: &mut Archive,
        name: &str,
        left: u64,
        limit: u64,
    ) -> io::Result<Option<Self>> {
        let Some(index) = archive.find(name) else {
            return Ok(None);
        };
        let entry = archive.entry(index)?;
        let bytes = SizeLimitedReader::new(open_entry(&archive.file, entry), left, limit);
        Ok(Some(Self::new(bytes)))
    }

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
    pub(crate) fn unpacked(&self) -> u64 {
        self.reader.get_ref().get_ref().input.passed()
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
