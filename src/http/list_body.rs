//! JSON bodies with a list of thousands of items. They are read item by item, so that only one at a time exists as a JSON
//! value, which takes up to thirty times the memory of its text.

use std::marker::PhantomData;
use std::time::Duration;
use std::{fmt, io, mem};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::{Error, Fault};
use super::extract::{Fields, expect_json, not_an_object, not_json, pointer, read_object, receive};
use super::memory::Reservation;

/// Maximum size of such a body, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Maximum size of an item, and of each other field, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Maximum number of fields of the body.
const MAX_FIELDS: usize = 100;
/// Size of a short item, in bytes: a body can have as many items as times it is longer.
const MIN_ITEM_BYTES: usize = 16;
/// Memory for an item and its result beside the text, in bytes.
const ITEM_MEMORY: usize = 2 * 1024;
/// Time in which a client must receive a part of a response.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Size of a part of a response, in bytes.
const PART_BYTES: usize = 64 * 1024;

/// A body with a list.
pub(crate) trait ListBody: Sized {
    /// The name of the list.
    const LIST: &'static str;
    /// Maximum number of its items.
    const MAX_ITEMS: usize;
    type Item;

    fn item(value: Value) -> Self::Item;

    /// `items` has 1 to `MAX_ITEMS` items. Returns `None` if it has recorded a fault.
    fn from_fields(items: Vec<Self::Item>, fields: &mut Fields) -> Option<Self>;
}

/// A body with a list, and the memory that is reserved for it. Drop the memory when the response is complete.
#[derive(Debug)]
pub(crate) struct JsonList<T>(pub T, pub Reservation);

impl<S: Send + Sync, T: ListBody> FromRequest<S> for JsonList<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        expect_json(request.headers())?;
        let memory = |bytes: usize| (bytes / MIN_ITEM_BYTES).min(T::MAX_ITEMS) * ITEM_MEMORY;
        let (bytes, reservation) = receive(request, MAX_BYTES, memory).await?;
        let json: &RawValue = serde_json::from_slice(&bytes).map_err(|error| not_json(&error))?;
        read(json.get()).map(|body| Self(body, reservation))
    }
}

fn read<T: ListBody>(json: &str) -> Result<T, Error> {
    if !json.starts_with('{') {
        return Err(Error::Invalid(vec![not_an_object()]));
    }
    let RawFields(raw) = serde_json::from_str(json).map_err(|error| not_json(&error))?;
    let mut object = Map::new();
    let mut list = None;
    let mut faults = Vec::new();
    for (name, value) in raw {
        if name == T::LIST {
            list = Some(value);
        } else if value.get().len() > MAX_VALUE_BYTES {
            let detail = format!("This field can have at most {MAX_VALUE_BYTES} bytes.");
            faults.push(Fault::new(pointer(&name), detail));
        } else {
            let value = serde_json::from_str(value.get()).map_err(|error| not_json(&error))?;
            object.insert(name, value);
        }
    }
    let items = match list {
        None => Err("This field is required.".to_owned()),
        Some(list) => read_items::<T>(list)?,
    };
    let body = read_object(object, |fields| match items {
        Ok(items) => T::from_fields(items, fields),
        Err(detail) => {
            fields.fault(T::LIST, detail);
            // So that a fault of another field is named too.
            T::from_fields(Vec::new(), fields).and(None)
        }
    });
    match body {
        Ok(body) if faults.is_empty() => Ok(body),
        body => {
            faults.extend(body.err().unwrap_or_default());
            Err(Error::Invalid(faults))
        }
    }
}

/// Reads the items. The inner error says what the list must be.
fn read_items<T: ListBody>(list: &RawValue) -> Result<Result<Vec<T::Item>, String>, Error> {
    if !list.get().starts_with('[') {
        return Ok(Err("This must be an array.".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(list.get());
    let items = json
        .deserialize_seq(ItemsVisitor::<T>(PhantomData))
        .map_err(|error| not_json(&error))?;
    match items {
        Items::Read(items) if !items.is_empty() => Ok(Ok(items)),
        Items::TooLarge(index) => {
            let detail = format!("An item can have at most {MAX_VALUE_BYTES} bytes.");
            let pointer = format!("{}/{index}", pointer(T::LIST));
            Err(Error::invalid(pointer, detail))
        }
        Items::Read(_) | Items::TooMany => Ok(Err(format!(
            "A request must have 1 to {} {}.",
            T::MAX_ITEMS,
            T::LIST
        ))),
    }
}

enum Items<T> {
    Read(Vec<T>),
    TooMany,
    /// The item at this index.
    TooLarge(usize),
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: ListBody> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T::Item>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let mut fault = None;
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if items.len() == T::MAX_ITEMS {
                fault = Some(Items::TooMany);
            } else if raw.get().len() > MAX_VALUE_BYTES {
                fault = Some(Items::TooLarge(items.len()));
            }
            if let Some(fault) = fault {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(fault);
            }
            let value = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
            items.push(T::item(value));
        }
        Ok(Items::Read(items))
    }
}

/// The fields of an object, as text.
struct RawFields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawFields<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(RawFieldsVisitor)
    }
}

struct RawFieldsVisitor;

impl<'de> Visitor<'de> for RawFieldsVisitor {
    type Value = RawFields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawFields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = object.next_entry()? {
            if fields.len() == MAX_FIELDS {
                return Err(serde::de::Error::custom("it has too many fields"));
            }
            fields.push(field);
        }
        Ok(RawFields(fields))
    }
}

/// Returns `{"results": […]}`, serialized part by part while the client receives it. The memory is held until then; a client
/// that receives nothing for `STALL_LIMIT` loses the connection.
pub(crate) fn respond<R: Serialize + Send + 'static>(
    results: impl Iterator<Item = R> + Send + 'static,
    memory: Reservation,
) -> Response {
    let mut results = results.peekable();
    let mut part = br#"{"results":["#.to_vec();
    let mut is_complete = false;
    let mut parts = std::iter::from_fn(move || {
        if is_complete {
            return None;
        }
        while part.len() < PART_BYTES
            && let Some(result) = results.next()
        {
            serde_json::to_writer(&mut part, &result).expect("a result is plain data");
            if results.peek().is_some() {
                part.push(b',');
            }
        }
        if results.peek().is_none() {
            part.extend_from_slice(b"]}");
            is_complete = true;
        }
        Some(mem::take(&mut part))
    });
    let first = parts.next().unwrap_or_default();
    let body = if first.len() < PART_BYTES {
        Body::from(first)
    } else {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for part in std::iter::once(first).chain(parts) {
                let sent = timeout(STALL_LIMIT, sender.send(Some(part))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            let _ = timeout(STALL_LIMIT, sender.send(None)).await;
            drop(memory);
        });
        Body::from_stream(stream::unfold(receiver, next_part))
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Returns the next part, nothing after the end, or an error if the sender gave up before.
async fn next_part(
    mut parts: mpsc::Receiver<Option<Vec<u8>>>,
) -> Option<(io::Result<Vec<u8>>, mpsc::Receiver<Option<Vec<u8>>>)> {
    match parts.recv().await {
        Some(part) => Some((Ok(part?), parts)),
        None => Some((Err(io::ErrorKind::TimedOut.into()), parts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(Vec<Option<u64>>);

    impl ListBody for Numbers {
        const LIST: &'static str = "numbers";
        const MAX_ITEMS: usize = 3;
        type Item = Option<u64>;

        fn item(value: Value) -> Option<u64> {
            value.as_u64()
        }

        fn from_fields(items: Vec<Option<u64>>, fields: &mut Fields) -> Option<Self> {
            let _: Option<bool> = fields.optional("flag");
            Some(Self(items))
        }
    }

    fn numbers(json: &str) -> Result<Vec<Option<u64>>, String> {
        read::<Numbers>(json)
            .map(|body| body.0)
            .map_err(|error| match error {
                Error::Invalid(faults) => faults
                    .iter()
                    .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
                    .collect::<Vec<_>>()
                    .join(" | "),
                error => error.to_string(),
            })
    }

    #[test]
    fn items_are_read_one_by_one_in_their_order() {
        assert_eq!(
            numbers(r#"{"flag": true, "numbers": [1, "a", 3]}"#),
            Ok(vec![Some(1), None, Some(3)])
        );
    }

    #[test]
    fn every_fault_of_a_body_is_named() {
        let fault = |json: &str| numbers(json).unwrap_err();
        let many = "/numbers: A request must have 1 to 3 numbers.";
        assert_eq!(fault(r#"{"numbers": [1, 2, 3, 4, {}]}"#), many);
        assert_eq!(fault(r#"{"numbers": []}"#), many);
        assert_eq!(
            fault(r#"{"numbers": {}}"#),
            "/numbers: This must be an array."
        );
        assert_eq!(
            fault(r#"{"flag": 1, "other": 2}"#),
            "/numbers: This field is required. | /flag: This must be true or false. | /other: Unknown field."
        );
        let long = "x".repeat(MAX_VALUE_BYTES);
        assert_eq!(
            fault(&format!(r#"{{"flag": "{long}", "numbers": [1]}}"#)),
            "/flag: This field can have at most 65536 bytes."
        );
        assert_eq!(
            fault(&format!(r#"{{"numbers": [1, "{long}"]}}"#)),
            "/numbers/1: An item can have at most 65536 bytes."
        );
        let fields: Vec<String> = (0..=MAX_FIELDS).map(|n| format!(r#""f{n}": 0"#)).collect();
        let message = fault(&format!("{{{}}}", fields.join(",")));
        assert!(message.contains("it has too many fields"), "{message}");
        assert_eq!(fault("[]"), ": The body must be a JSON object.");
        let message = fault(r#"{"numbers": [1, 2}"#);
        assert!(message.starts_with("malformed-request"), "{message}");
    }
}
