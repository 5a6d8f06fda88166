//! The id of a request, in its response and in the log.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderName, HeaderValue, request::Parts};
use uuid::Uuid;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The value of `X-Request-Id`.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(super) HeaderValue);

impl RequestId {
    /// Returns the caller's id if it has 1 to 128 printable ASCII characters, else a new one.
    pub(super) fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).filter(|value| {
            (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        Self(given.cloned().unwrap_or_else(|| {
            let mut buffer = Uuid::encode_buffer();
            let id = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
            HeaderValue::from_str(id).expect("a UUID is ASCII")
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("it was checked to be ASCII")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .expect("the envelope sets it"))
    }
}
