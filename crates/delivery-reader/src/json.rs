//! Reads `{"codes": ["A", {"code": "B", "expiresAt": "2026-12-31"}, …]}` without holding the array.
//!
//! `serde_json` buffers one string, and one byte for each level of nesting that it skips; a guard below it limits both.
//! Wrong fields are collected, so that one error names them all.

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    DeliveryFault, FieldFault, ReadError, Row, RowRules,
    attributes::{self, Attributes},
    code::{printable, validate},
    input::InputBuffer,
};

/// Most faults that one error names.
const MAX_FAULTS: usize = 100;

/// Longest string, in bytes; a code of 255 characters needs 3,060 if all of them are escaped.
const MAX_STRING_BYTES: usize = 1024 * 1024;

/// Deepest nesting; a correct body has four levels.
const MAX_DEPTH: usize = 100;

/// Pushes each element of `codes` into the sink.
pub(crate) fn read_json<E>(
    input: impl Read,
    rules: RowRules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let guard = LimitGuard {
        source: InputBuffer::open(input)?,
        string: None,
        escaped: false,
        depth: 0,
    };
    let mut json =
        serde_json::Deserializer::from_reader(BufReader::with_capacity(16 * 1024, guard));
    let mut body = BodyReader {
        sink,
        rules,
        stopped: None,
        element: Element::default(),
        index: 0,
        inside: false,
        given: false,
        faults: Vec::new(),
    };
    let result = ValueVisitor {
        body: &mut body,
        role: ValueRole::Body,
    }
    .deserialize(&mut json)
    .and_then(|()| json.end());
    if let Some(error) = body.stopped {
        return Err(ReadError::Sink(error));
    }
    match result {
        Err(error) => Err(failure(error, body.pointer())),
        Ok(()) if !body.faults.is_empty() => Err(ReadError::Fields(body.faults)),
        Ok(()) if body.index == 0 => Err(DeliveryFault::Empty.into()),
        Ok(()) => Ok(()),
    }
}

fn failure<E>(error: serde_json::Error, pointer: String) -> ReadError<E> {
    if error.is_io() {
        let error = io::Error::from(error);
        return match error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<LimitExceeded>())
        {
            Some(exceeded) => ReadError::Fields(vec![FieldFault {
                pointer,
                detail: exceeded.to_string(),
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

/// The fields of an element that is an object.
#[derive(Default)]
struct Element {
    code: String,
    expires_at: String,
    attributes: Attributes,
    /// The attribute that is being read.
    name: String,
}

/// State of the reading of a body.
struct BodyReader<'s, S, E> {
    sink: &'s mut S,
    rules: RowRules,
    /// The sink's error, which `serde_json` cannot pass on.
    stopped: Option<E>,
    element: Element,
    /// Elements of `codes` so far, including the one that is being read.
    index: u32,
    /// The reading is inside `codes`.
    inside: bool,
    /// The body has a field `codes`.
    given: bool,
    faults: Vec<FieldFault>,
}

impl<S: FnMut(Row) -> Result<(), E>, E> BodyReader<'_, S, E> {
    fn push<F: serde::de::Error>(&mut self, mut element: Element) -> Result<(), F> {
        // The caller discards the rows of a faulty body, so the rest is read only for its faults.
        if !self.faults.is_empty() {
            return Ok(());
        }
        let row = Row::new(
            self.index,
            validate(&element.code, self.rules.max_code_chars),
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
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(FieldFault {
                pointer,
                detail: detail.into(),
            });
        }
    }

    fn attribute_pointer(&self) -> String {
        self.pointer() + "/attributes" + &pointer_to(&self.element.name)
    }

    /// The JSON pointer to the element that is being read.
    fn pointer(&self) -> String {
        if self.inside {
            format!("/codes/{}", self.index - 1)
        } else {
            String::new()
        }
    }
}

/// The role of a value in the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueRole {
    Body,
    Codes,
    Element,
    Code,
    ExpiresAt,
    Attributes,
    Attribute,
}

/// Visits the value of a role.
struct ValueVisitor<'b, 's, S, E> {
    body: &'b mut BodyReader<'s, S, E>,
    role: ValueRole,
}

impl<'s, S: FnMut(Row) -> Result<(), E>, E> ValueVisitor<'_, 's, S, E> {
    /// A visitor for a value inside this one.
    fn at(&mut self, role: ValueRole) -> ValueVisitor<'_, 's, S, E> {
        ValueVisitor {
            body: &mut *self.body,
            role,
        }
    }

    fn wrong(self) {
        match self.role {
            ValueRole::Body => self
                .body
                .fault(String::new(), "must be an object with the field codes"),
            ValueRole::Codes => self
                .body
                .fault("/codes".to_owned(), "must be an array of codes"),
            ValueRole::Element => self.body.fault(
                self.body.pointer(),
                "must be a string or an object with the field code",
            ),
            ValueRole::Code => self
                .body
                .fault(self.body.pointer() + "/code", "must be a string"),
            ValueRole::ExpiresAt => self.body.fault(
                self.body.pointer() + "/expiresAt",
                "must be a string or null",
            ),
            ValueRole::Attributes => self.body.fault(
                self.body.pointer() + "/attributes",
                "must be an object or null",
            ),
            ValueRole::Attribute => {
                let pointer = self.body.attribute_pointer();
                self.body.fault(pointer, "must be a string or null");
            }
        }
    }

    fn read_body<'de, A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if self.takes(&name) {
                fields.next_value_seed(self.at(ValueRole::Codes))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        if !self.body.given {
            self.body.fault("/codes".to_owned(), "is missing");
        }
        Ok(())
    }

    fn read_element<'de, A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.body.element = Element::default();
        let mut given = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            let role = match name.as_str() {
                "code" => Some(ValueRole::Code),
                "expiresAt" => Some(ValueRole::ExpiresAt),
                "attributes" => Some(ValueRole::Attributes),
                _ => None,
            };
            if let Some(role) = role.filter(|role| !given.contains(role)) {
                given.push(role);
                fields.next_value_seed(self.at(role))?;
            } else {
                let pointer = self.body.pointer() + &pointer_to(&name);
                let detail = role.map_or("is not a field of a code", |_| "is given twice");
                self.body.fault(pointer, detail);
                fields.next_value::<IgnoredAny>()?;
            }
        }
        if !given.contains(&ValueRole::Code) {
            let pointer = self.body.pointer() + "/code";
            self.body.fault(pointer, "is missing");
        }
        let element = std::mem::take(&mut self.body.element);
        self.body.push(element)
    }

    fn read_attributes<'de, A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let mut given = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            name.clone_into(&mut self.body.element.name);
            let detail = if given.contains(&name) {
                Some("is given twice")
            } else if given.len() == attributes::MAX_ATTRIBUTES {
                Some("is more than the 50 attributes that a code may have")
            } else {
                (!is_attribute_name(&name)).then_some("has no name of 1 to 255 characters")
            };
            if let Some(detail) = detail {
                let pointer = self.body.attribute_pointer();
                self.body.fault(pointer, detail);
                fields.next_value::<IgnoredAny>()?;
            } else {
                given.push(name);
                fields.next_value_seed(self.at(ValueRole::Attribute))?;
            }
        }
        Ok(())
    }

    /// Returns true if a field of the body must be read.
    fn takes(&mut self, name: &str) -> bool {
        if name != "codes" {
            self.body
                .fault(pointer_to(name), "is not a field of this body");
            return false;
        }
        if self.body.given {
            self.body.fault("/codes".to_owned(), "is given twice");
            return false;
        }
        self.body.given = true;
        true
    }
}

fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= 255 && !name.contains(char::is_control)
}

fn pointer_to(field: &str) -> String {
    format!(
        "/{}",
        printable(field).replace('~', "~0").replace('/', "~1")
    )
}

impl<'de, S: FnMut(Row) -> Result<(), E>, E> DeserializeSeed<'de> for ValueVisitor<'_, '_, S, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: FnMut(Row) -> Result<(), E>, E> Visitor<'de> for ValueVisitor<'_, '_, S, E> {
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
        let nullable = [
            ValueRole::ExpiresAt,
            ValueRole::Attributes,
            ValueRole::Attribute,
        ];
        if !nullable.contains(&self.role) {
            self.wrong();
        }
        Ok(())
    }

    fn visit_str<F: serde::de::Error>(self, text: &str) -> Result<(), F> {
        match self.role {
            ValueRole::Element => {
                return self.body.push(Element {
                    code: text.to_owned(),
                    ..Element::default()
                });
            }
            ValueRole::Code => text.clone_into(&mut self.body.element.code),
            ValueRole::ExpiresAt => text.clone_into(&mut self.body.element.expires_at),
            ValueRole::Attribute => {
                let element = &mut self.body.element;
                element.attributes.add_named(&element.name, text);
            }
            ValueRole::Body | ValueRole::Codes | ValueRole::Attributes => self.wrong(),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        if self.role != ValueRole::Codes {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            self.wrong();
            return Ok(());
        }
        self.body.inside = true;
        loop {
            // Count the element first, so that a fault in it names its place.
            self.body.index = self.body.index.saturating_add(1);
            if elements
                .next_element_seed(self.at(ValueRole::Element))?
                .is_none()
            {
                self.body.index -= 1;
                self.body.inside = false;
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        match self.role {
            ValueRole::Body => self.read_body(fields),
            ValueRole::Element => self.read_element(fields),
            ValueRole::Attributes => self.read_attributes(fields),
            ValueRole::Codes | ValueRole::Code | ValueRole::ExpiresAt | ValueRole::Attribute => {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.wrong();
                Ok(())
            }
        }
    }
}

/// A value that exceeds what the parser may hold.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum LimitExceeded {
    #[error("holds a string of more than 1 MiB")]
    String,
    #[error("is nested too deeply")]
    Nesting,
}

/// Passes bytes to the parser until a string or the nesting exceeds its limit.
struct LimitGuard<R> {
    source: InputBuffer<R>,
    /// The number of bytes so far inside a string.
    string: Option<usize>,
    escaped: bool,
    depth: usize,
}

impl<R> LimitGuard<R> {
    fn pass(&mut self, byte: u8) -> Result<(), LimitExceeded> {
        let Some(length) = &mut self.string else {
            match byte {
                b'"' => self.string = Some(0),
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            return if self.depth > MAX_DEPTH {
                Err(LimitExceeded::Nesting)
            } else {
                Ok(())
            };
        };
        *length += 1;
        if *length > MAX_STRING_BYTES {
            return Err(LimitExceeded::String);
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

impl<R: Read> Read for LimitGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.fill()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        for (passed, byte) in buffer[..count].iter().enumerate() {
            match self.pass(*byte) {
                Ok(()) => {}
                // The parser must see the preceding bytes first: a fault in them is the earlier one.
                Err(_) if passed > 0 => {
                    self.source.consume(passed);
                    return Ok(passed);
                }
                Err(exceeded) => return Err(io::Error::other(exceeded)),
            }
        }
        self.source.consume(count);
        Ok(count)
    }
}
