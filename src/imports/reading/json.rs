//! Reads `{"codes": ["A", {"code": "B", "expiresAt": "2026-12-31"}, …]}` without ever holding the
//! array.
//!
//! `serde_json` buffers one string, and a byte for each level of nesting that it skips; a guard
//! below it bounds both. Wrong fields are gathered, so that the answer names them all at once.

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    Fault, FieldFault, ReadError, Row, Rules,
    attributes::{self, Attributes},
    code::{judge, printable},
    input::Source,
};
use crate::extract::check_text;

/// The faults that one answer names.
const MOST_FAULTS: usize = 100;

/// The bytes of the longest string; a code of 255 characters needs 3,060, all of them escaped.
const LONGEST_STRING: usize = 1024 * 1024;

/// Far more than the three levels that a correct body has.
const DEEPEST: usize = 100;

/// Pushes each element of `codes` into the sink.
pub(crate) fn read_json<E>(
    input: impl Read,
    rules: Rules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let guard = Guard {
        source: Source::open(input)?,
        string: None,
        escaped: false,
        depth: 0,
    };
    let mut json =
        serde_json::Deserializer::from_reader(BufReader::with_capacity(16 * 1024, guard));
    let mut body = Body {
        sink,
        rules,
        stopped: None,
        element: Element::default(),
        index: 0,
        inside: false,
        given: false,
        faults: Vec::new(),
    };
    let result = Part {
        body: &mut body,
        place: Place::Body,
    }
    .deserialize(&mut json)
    .and_then(|()| json.end());
    if let Some(error) = body.stopped {
        return Err(ReadError::Sink(error));
    }
    match result {
        Err(error) => Err(failure(error, body.pointer())),
        Ok(()) if !body.faults.is_empty() => Err(ReadError::Fields(body.faults)),
        Ok(()) if body.index == 0 => Err(Fault::Empty.into()),
        Ok(()) => Ok(()),
    }
}

fn failure<E>(error: serde_json::Error, pointer: String) -> ReadError<E> {
    if error.is_io() {
        let error = io::Error::from(error);
        return match error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<Excess>())
        {
            Some(excess) => ReadError::Fields(vec![FieldFault {
                pointer,
                detail: excess.to_string(),
            }]),
            None => error.into(),
        };
    }
    let (line, column, message) = (error.line(), error.column(), error.to_string());
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(message, _)| message);
    ReadError::Syntax {
        line,
        column,
        message: message.to_owned(),
    }
}

/// The fields of an element that is an object, as far as they are read and right.
#[derive(Default)]
struct Element {
    code: String,
    expires_at: String,
    attributes: Attributes,
    /// The attribute at hand.
    name: String,
}

/// What is known of the body while it is read.
struct Body<'s, S, E> {
    sink: &'s mut S,
    rules: Rules,
    /// The sink's error, which `serde_json` cannot carry.
    stopped: Option<E>,
    element: Element,
    /// The elements of `codes` so far, with the one at hand.
    index: u32,
    /// Whether the reading is inside `codes`.
    inside: bool,
    /// Whether `codes` was there.
    given: bool,
    faults: Vec<FieldFault>,
}

impl<S: FnMut(Row) -> Result<(), E>, E> Body<'_, S, E> {
    fn push<F: serde::de::Error>(&mut self, mut element: Element) -> Result<(), F> {
        // The caller discards the rows of a faulty body: the rest is read for its faults only.
        if !self.faults.is_empty() {
            return Ok(());
        }
        let row = Row::judge(
            self.index,
            judge(&element.code, self.rules.code_chars),
            Ok(&element.expires_at),
            element.attributes.take(),
            self.rules.zone,
        );
        (self.sink)(row).map_err(|error| {
            self.stopped = Some(error);
            F::custom("the sink failed")
        })
    }

    fn fault(&mut self, pointer: String, detail: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(FieldFault {
                pointer,
                detail: detail.into(),
            });
        }
    }

    fn attribute_pointer(&self) -> String {
        self.pointer() + "/attributes" + &pointer_to(&self.element.name)
    }

    /// Where the reading is.
    fn pointer(&self) -> String {
        if self.inside {
            format!("/codes/{}", self.index - 1)
        } else {
            String::new()
        }
    }
}

/// What a value ought to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Body,
    Codes,
    Element,
    Code,
    ExpiresAt,
    Attributes,
    Attribute,
}

/// A value at its place in the body.
struct Part<'b, 's, S, E> {
    body: &'b mut Body<'s, S, E>,
    place: Place,
}

impl<'s, S: FnMut(Row) -> Result<(), E>, E> Part<'_, 's, S, E> {
    /// A value inside this one.
    fn at(&mut self, place: Place) -> Part<'_, 's, S, E> {
        Part {
            body: &mut *self.body,
            place,
        }
    }

    fn wrong(self) {
        match self.place {
            Place::Body => self.body.fault(
                String::new(),
                "This must be an object with the field `codes`.",
            ),
            Place::Codes => self
                .body
                .fault("/codes".to_owned(), "This must be an array of codes."),
            Place::Element => self.body.fault(
                self.body.pointer(),
                "This must be a string or an object with the field `code`.",
            ),
            Place::Code => self
                .body
                .fault(self.body.pointer() + "/code", "This must be a string."),
            Place::ExpiresAt => self.body.fault(
                self.body.pointer() + "/expiresAt",
                "This must be a string or null.",
            ),
            Place::Attributes => self.body.fault(
                self.body.pointer() + "/attributes",
                "This must be an object or null.",
            ),
            Place::Attribute => {
                let pointer = self.body.attribute_pointer();
                self.body.fault(pointer, "This must be a string or null.");
            }
        }
    }

    fn read_body<'de, A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if self.takes(&name) {
                fields.next_value_seed(self.at(Place::Codes))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        if !self.body.given {
            self.body
                .fault("/codes".to_owned(), "This field is required.");
        }
        Ok(())
    }

    fn read_element<'de, A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.body.element = Element::default();
        let mut given = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            let place = match name.as_str() {
                "code" => Some(Place::Code),
                "expiresAt" => Some(Place::ExpiresAt),
                "attributes" => Some(Place::Attributes),
                _ => None,
            };
            if let Some(place) = place.filter(|place| !given.contains(place)) {
                given.push(place);
                fields.next_value_seed(self.at(place))?;
            } else {
                let pointer = self.body.pointer() + &pointer_to(&name);
                let detail =
                    place.map_or("Unknown field.", |_| "This field occurs more than once.");
                self.body.fault(pointer, detail);
                fields.next_value::<IgnoredAny>()?;
            }
        }
        if !given.contains(&Place::Code) {
            let pointer = self.body.pointer() + "/code";
            self.body.fault(pointer, "This field is required.");
        }
        let element = std::mem::take(&mut self.body.element);
        self.body.push(element)
    }

    fn read_attributes<'de, A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let mut given = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            name.clone_into(&mut self.body.element.name);
            let detail = if given.contains(&name) {
                Some("This field occurs more than once.")
            } else if given.len() == attributes::MOST {
                Some("A code can have at most 50 attributes.")
            } else {
                check_text(&name, 255)
                    .is_err()
                    .then_some("The name of an attribute must have 1 to 255 characters.")
            };
            if let Some(detail) = detail {
                let pointer = self.body.attribute_pointer();
                self.body.fault(pointer, detail);
                fields.next_value::<IgnoredAny>()?;
            } else {
                given.push(name);
                fields.next_value_seed(self.at(Place::Attribute))?;
            }
        }
        Ok(())
    }

    /// Whether a field is to be read.
    fn takes(&mut self, name: &str) -> bool {
        if name != "codes" {
            self.body.fault(pointer_to(name), "Unknown field.");
            return false;
        }
        if self.body.given {
            self.body
                .fault("/codes".to_owned(), "This field occurs more than once.");
            return false;
        }
        self.body.given = true;
        true
    }
}

fn pointer_to(field: &str) -> String {
    format!(
        "/{}",
        printable(field).replace('~', "~0").replace('/', "~1")
    )
}

impl<'de, S: FnMut(Row) -> Result<(), E>, E> DeserializeSeed<'de> for Part<'_, '_, S, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: FnMut(Row) -> Result<(), E>, E> Visitor<'de> for Part<'_, '_, S, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<F>(self, _: bool) -> Result<(), F> {
        self.wrong();
        Ok(())
    }

    fn visit_i64<F>(self, _: i64) -> Result<(), F> {
        self.wrong();
        Ok(())
    }

    fn visit_u64<F>(self, _: u64) -> Result<(), F> {
        self.wrong();
        Ok(())
    }

    fn visit_f64<F>(self, _: f64) -> Result<(), F> {
        self.wrong();
        Ok(())
    }

    fn visit_unit<F>(self) -> Result<(), F> {
        let nullable = [Place::ExpiresAt, Place::Attributes, Place::Attribute];
        if !nullable.contains(&self.place) {
            self.wrong();
        }
        Ok(())
    }

    fn visit_str<F: serde::de::Error>(self, text: &str) -> Result<(), F> {
        match self.place {
            Place::Element => {
                return self.body.push(Element {
                    code: text.to_owned(),
                    ..Element::default()
                });
            }
            Place::Code => text.clone_into(&mut self.body.element.code),
            Place::ExpiresAt => text.clone_into(&mut self.body.element.expires_at),
            Place::Attribute => {
                let element = &mut self.body.element;
                element.attributes.add_named(&element.name, text);
            }
            Place::Body | Place::Codes | Place::Attributes => self.wrong(),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        if self.place != Place::Codes {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            self.wrong();
            return Ok(());
        }
        self.body.inside = true;
        loop {
            // An element that cannot be read at all is still the one that the fault names.
            self.body.index = self.body.index.saturating_add(1);
            if elements
                .next_element_seed(self.at(Place::Element))?
                .is_none()
            {
                self.body.index -= 1;
                self.body.inside = false;
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        match self.place {
            Place::Body => self.read_body(fields),
            Place::Element => self.read_element(fields),
            Place::Attributes => self.read_attributes(fields),
            Place::Codes | Place::Code | Place::ExpiresAt | Place::Attribute => {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.wrong();
                Ok(())
            }
        }
    }
}

/// More than the parser is to hold.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Excess {
    #[error("This contains a string of more than 1 MiB.")]
    String,
    #[error("This is nested too deeply.")]
    Nesting,
}

/// Passes bytes on until a string or the nesting exceeds what the parser may hold.
struct Guard<R> {
    source: Source<R>,
    /// Inside a string: its bytes so far.
    string: Option<usize>,
    escaped: bool,
    depth: usize,
}

impl<R> Guard<R> {
    fn pass(&mut self, byte: u8) -> Result<(), Excess> {
        let Some(length) = &mut self.string else {
            match byte {
                b'"' => self.string = Some(0),
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            return if self.depth > DEEPEST {
                Err(Excess::Nesting)
            } else {
                Ok(())
            };
        };
        *length += 1;
        if *length > LONGEST_STRING {
            return Err(Excess::String);
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.string = None;
        }
        Ok(())
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.fill()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        for (passed, byte) in buffer[..count].iter().enumerate() {
            match self.pass(*byte) {
                Ok(()) => {}
                // The parser sees what comes before first: a fault there is nearer to the cause.
                Err(_) if passed > 0 => {
                    self.source.consume(passed);
                    return Ok(passed);
                }
                Err(excess) => return Err(io::Error::other(excess)),
            }
        }
        self.source.consume(count);
        Ok(count)
    }
}
