//! Extractors that replace those of axum by the same names and reject with an `Error`, and the reading of JSON objects.
//!
//! A body is read field by field, so that one response contains all of its faults.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::{Error, Fault, REQUEST_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use super::memory::{FREE_BYTES, MemoryBudget, Reservation};
use crate::ids::TenantId;
use crate::text_enum::{TextEnum, expectation};
use crate::time_zone::Zone;

/// Maximum size of a JSON body, in bytes. Bodies with a list can be larger; uploads have a separate limit.
const MAX_BYTES: usize = 64 * 1024;

/// Bytes of a body that does not announce its length for which memory is reserved at first.
const UNANNOUNCED_BYTES: usize = 64 * 1024;

/// Maximum number of unknown fields of an object that one response names.
const MAX_UNKNOWN_FIELDS: usize = 20;

/// Time limit for receiving a JSON body.
const BODY_LIMIT: Duration = Duration::from_secs(20);

/// A JSON object as the body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        expect_json(request.headers())?;
        let (bytes, _reservation) = receive(request, MAX_BYTES, |_| 0).await?;
        let value = serde_json::from_slice(&bytes).map_err(|error| not_json(&error))?;
        read(value).map(Self).map_err(Error::Invalid)
    }
}

pub(super) fn not_json(error: &serde_json::Error) -> Error {
    Error::malformed(format!("The body is not JSON: {error}."))
}

/// Receives a body of at most `limit` bytes. `memory` returns the memory that is needed beside a body of a length, in bytes.
/// That and the body, with a copy, are reserved before it is read. A body that does not announce its length reserves little
/// at first, and the most when it turns out to be large.
pub(super) async fn receive(
    request: Request,
    limit: usize,
    memory: impl Fn(usize) -> usize,
) -> Result<(Bytes, Reservation), Error> {
    let (parts, body) = request.into_parts();
    let budget = parts.extensions.get::<MemoryBudget>();
    let budget = budget.ok_or_else(|| Error::Internal("no memory budget".to_owned()))?;
    let tenant = parts.extensions.get::<TenantId>().copied();
    let needed = |bytes: usize| {
        if bytes > FREE_BYTES {
            2 * bytes + memory(bytes)
        } else {
            0
        }
    };
    let announced = HttpBody::size_hint(&body);
    if announced.lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut body = Limited::new(body, limit);
    let mut reservation = Reservation::default();
    let mut begun = Vec::new();
    let is_complete = if let Some(length) = announced.exact() {
        let length = usize::try_from(length).unwrap_or(limit);
        reservation.add(budget.reserve(tenant, needed(length)).await?);
        false
    } else {
        let first = UNANNOUNCED_BYTES.min(limit);
        reservation.add(budget.reserve(tenant, 2 * first).await?);
        let is_complete = read_until(&mut body, &mut begun, first, limit).await?;
        let length = if is_complete { begun.len() } else { limit };
        let rest = needed(length).saturating_sub(2 * first);
        reservation.add(budget.reserve(tenant, rest).await?);
        is_complete
    };
    if !is_complete {
        begun.reserve(usize::try_from(announced.lower()).unwrap_or(0));
        read_until(&mut body, &mut begun, usize::MAX, limit).await?;
    }
    Ok((begun.into(), reservation))
}

/// Reads a body to its end, or until there are more than `enough` bytes. Returns true at the end.
async fn read_until(
    body: &mut Limited<Body>,
    bytes: &mut Vec<u8>,
    enough: usize,
    limit: usize,
) -> Result<bool, Error> {
    let read = async {
        while bytes.len() <= enough {
            match body.frame().await {
                None => return Ok(true),
                Some(Ok(frame)) => {
                    bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                }
                Some(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large(limit)),
                Some(Err(_)) => {
                    let detail = "The body is incomplete: the connection ended early.";
                    return Err(Error::malformed(detail));
                }
            }
        }
        Ok(false)
    };
    tokio::time::timeout(BODY_LIMIT, read).await.map_err(|_| {
        Error::refused(
            &REQUEST_TIMEOUT,
            "The body did not arrive within 20 seconds. Nothing was changed.",
        )
    })?
}

fn too_large(limit: usize) -> Error {
    Error::refused(
        &TOO_LARGE,
        format!("The JSON body of this operation can have at most {limit} bytes."),
    )
}

/// `None` for a request without a body, whatever content type it names: several HTTP clients always name one.
impl<S: Send + Sync, T: FromFields> OptionalFromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Error> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state)
            .await
            .map(Some)
    }
}

pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    match content_type(headers).as_deref() {
        Some("application/json") => Ok(()),
        _ => Err(Error::refused(
            &UNSUPPORTED_MEDIA_TYPE,
            "Send the body as application/json.",
        )),
    }
}

/// The media type of the body, in lower case and without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
    )
}

/// Reads an object. A field that `T` does not take is a fault.
pub(crate) fn read<T: FromFields>(value: Value) -> Result<T, Vec<Fault>> {
    let Value::Object(object) = value else {
        return Err(vec![not_an_object()]);
    };
    read_object(object, T::from_fields)
}

pub(super) fn not_an_object() -> Fault {
    Fault::new("", "The body must be a JSON object.")
}

/// Reads an object by `read_fields`. A field that it does not take is a fault.
pub(super) fn read_object<T>(
    object: Map<String, Value>,
    read_fields: impl FnOnce(&mut Fields) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let mut fields = Fields {
        object,
        faults: Vec::new(),
    };
    let read = read_fields(&mut fields);
    for name in fields.object.keys().take(MAX_UNKNOWN_FIELDS) {
        fields
            .faults
            .push(Fault::new(pointer(name), "Unknown field."));
    }
    match read {
        Some(value) if fields.faults.is_empty() => Ok(value),
        _ => Err(fields.faults),
    }
}

pub(super) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A type that is read from the fields of an object.
pub(crate) trait FromFields: Sized {
    /// Returns `None` if it has recorded a fault.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// A type of field values. The error is a sentence that describes the valid values.
pub(crate) trait FieldValue: Sized {
    fn from_value(value: Value) -> Result<Self, String>;
}

/// The fields of an object that are not read yet, and the faults found so far.
pub(crate) struct Fields {
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    pub(crate) fn required<T: FieldValue>(&mut self, name: &str) -> Option<T> {
        if let Some(value) = self.object.remove(name) {
            self.value(name, value)
        } else {
            self.fault(name, "This field is required.");
            None
        }
    }

    /// `null` counts as absent.
    pub(crate) fn optional<T: FieldValue>(&mut self, name: &str) -> Option<T> {
        match self.object.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.value(name, value),
        }
    }

    /// For a patch: `None` if absent, `Some(None)` if null.
    #[expect(
        clippy::option_option,
        reason = "absent, null and a value are three things in a patch"
    )]
    pub(crate) fn nullable<T: FieldValue>(&mut self, name: &str) -> Option<Option<T>> {
        match self.object.remove(name) {
            None => None,
            Some(Value::Null) => Some(None),
            Some(value) => self.value(name, value).map(Some),
        }
    }

    /// Returns true if the object has the field, even if it is null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Records a fault if the object has the field, with any value.
    pub(crate) fn refuse(&mut self, name: &str, detail: &str) {
        if self.object.remove(name).is_some() {
            self.fault(name, detail);
        }
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(pointer(name), detail));
    }

    /// Records a fault of one item of a field that is an array.
    pub(crate) fn fault_of_item(&mut self, name: &str, index: usize, detail: impl Into<String>) {
        let pointer = format!("{}/{index}", pointer(name));
        self.faults.push(Fault::new(pointer, detail));
    }

    /// Reads an array of objects; an absent one is empty. The faults of an object are recorded with its place.
    pub(crate) fn objects<T: FromFields>(&mut self, name: &str) -> Vec<T> {
        let items: Vec<Value> = self.optional(name).unwrap_or_default();
        let mut objects = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let object = match item {
                Value::Object(object) => read_object(object, T::from_fields),
                _ => Err(vec![Fault::new("", "This must be an object.")]),
            };
            match object {
                Ok(object) => objects.push(object),
                Err(faults) => self.faults.extend(faults.into_iter().map(|fault| {
                    let place = format!("{}/{index}{}", pointer(name), fault.pointer);
                    Fault::new(place, fault.detail)
                })),
            }
        }
        objects
    }

    fn value<T: FieldValue>(&mut self, name: &str, value: Value) -> Option<T> {
        T::from_value(value)
            .map_err(|detail| self.fault(name, detail))
            .ok()
    }
}

/// Reads a field of a patch that can be absent but not null.
pub(crate) fn present<T: FieldValue>(fields: &mut Fields, name: &str) -> Option<T> {
    fields.has(name).then(|| fields.required(name)).flatten()
}

impl<T: TextEnum> FieldValue for T {
    fn from_value(value: Value) -> Result<Self, String> {
        Self::deserialize(value).map_err(|_| expectation::<Self>())
    }
}

impl FieldValue for Uuid {
    fn from_value(value: Value) -> Result<Self, String> {
        value
            .as_str()
            .and_then(|text| Uuid::try_parse(text).ok())
            .ok_or_else(|| "This must be a UUID.".to_owned())
    }
}

impl FieldValue for bool {
    fn from_value(value: Value) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| "This must be true or false.".to_owned())
    }
}

impl FieldValue for Vec<Value> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => Ok(items),
            _ => Err("This must be an array.".to_owned()),
        }
    }
}

impl FieldValue for Zone {
    fn from_value(value: Value) -> Result<Self, String> {
        value.as_str().and_then(Self::parse).ok_or_else(|| {
            "This must be the name of a time zone, such as \"Europe/Madrid\".".to_owned()
        })
    }
}

/// Reads text of 1 to `max` characters without control characters. Surrounding white space is removed.
pub(crate) fn text(value: Value, max: usize) -> Result<String, String> {
    let Value::String(text) = value else {
        return Err("This must be a string.".to_owned());
    };
    let text = match text.trim() {
        trimmed if trimmed.len() == text.len() => text,
        trimmed => trimmed.to_owned(),
    };
    check_text(&text, max)?;
    Ok(text)
}

/// Checks a string by the rules of `text` without removing white space.
pub(crate) fn check_text(text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() {
        Err("This must not be empty.".to_owned())
    } else if text.len() > max && text.chars().count() > max {
        Err(format!("This must have at most {max} characters."))
    } else if text.chars().any(char::is_control) {
        Err("This must not contain control characters.".to_owned())
    } else {
        Ok(())
    }
}

/// Reads a whole number from `min` to `max`. JSON does not distinguish 5 from 5.0.
pub(crate) fn integer(value: &Value, min: i64, max: i64) -> Result<i64, String> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float of that size that has no fraction is exact"
    )]
    let number = value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 9e15)
            .map(|float| float as i64)
    });
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("This must be a whole number from {min} to {max}.")),
    }
}

/// The parameters of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        #[expect(clippy::disallowed_types, reason = "this is the wrapper")]
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::malformed(format!(
                "The path is not valid: {}.",
                rejection.body_text().trim_end_matches('.')
            ))),
        }
    }
}

/// The parameters of the query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        #[expect(clippy::disallowed_types, reason = "this is the wrapper")]
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::malformed(format!(
                "The query is not valid: {}.",
                rejection.body_text().trim_end_matches('.')
            ))),
        }
    }
}

/// A JSON body as the response.
impl<T: serde::Serialize> axum::response::IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        let body = serde_json::to_vec(&self.0).expect("a response is plain data");
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
