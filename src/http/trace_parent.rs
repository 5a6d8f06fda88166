//! The trace that a request belongs to, from its header `traceparent` (W3C Trace Context).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use tracing::Span;

use crate::traces;

pub(crate) const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Length of the trace id, and of the id of the span of the caller, in hexadecimal digits.
const TRACE_ID_CHARS: usize = 32;
const SPAN_ID_CHARS: usize = 16;

/// A valid `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceParent(String);

impl TraceParent {
    /// A later version may have more fields after the four of version 00, as which it is passed on.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let mut hex = |chars: usize| {
            let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            let field = fields.next()?;
            (field.len() == chars && field.bytes().all(is_digit)).then_some(field)
        };
        let (version, trace, span, flags) =
            (hex(2)?, hex(TRACE_ID_CHARS)?, hex(SPAN_ID_CHARS)?, hex(2)?);
        let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
        let has_more = fields.next().is_some();
        if version == "ff" || version == "00" && has_more || is_zero(trace) || is_zero(span) {
            return None;
        }
        let is_sampled = matches!(
            flags.as_bytes()[1],
            b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'
        );
        Some(Self(format!("00-{trace}-{span}-0{}", u8::from(is_sampled))))
    }

    /// The header of a request that belongs to the same trace.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// The trace that something belongs to, if any.
pub(crate) struct Trace(pub Option<TraceParent>);

impl Trace {
    /// Reads the header. One that is not valid, or comes twice, is ignored.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACE_PARENT).iter();
        let value = values.next().filter(|_| values.next().is_none());
        Self(value.and_then(|value| TraceParent::parse(value.to_str().ok()?)))
    }

    pub(super) fn id(&self) -> Option<&str> {
        let TraceParent(header) = self.0.as_ref()?;
        Some(&header[3..3 + TRACE_ID_CHARS])
    }

    /// Makes a new span a part of this trace, if spans are exported, and returns the trace for what the span calls. `kind`
    /// is that of OpenTelemetry.
    pub(crate) fn join(self, span: &Span, kind: &'static str) -> Self {
        if traces::is_exported() {
            span.record("otel.kind", kind);
        }
        let parent = self.0.as_ref().map(|trace| &*trace.0);
        let joined = traces::join(span, parent).and_then(|header| TraceParent::parse(&header));
        Self(joined.or(self.0))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read(text: &str) -> Option<String> {
        TraceParent::parse(text).map(|trace| trace.0)
    }

    #[test]
    fn a_trace_is_read_from_any_version_and_passed_on_as_version_00() {
        let version_00 = format!("00-{TRACE}-{SPAN}-01");
        for text in [
            version_00.clone(),
            format!("00-{TRACE}-{SPAN}-03"),
            format!("cc-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be"),
        ] {
            assert_eq!(read(&text), Some(version_00.clone()), "{text}");
        }
        let unsampled = format!("00-{TRACE}-{SPAN}-00");
        assert_eq!(read(&unsampled), Some(unsampled.clone()));
        assert_eq!(Trace(Some(TraceParent(unsampled))).id(), Some(TRACE));
    }

    #[test]
    fn a_trace_that_is_not_valid_is_ignored() {
        let upper = TRACE.to_uppercase();
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(TRACE_ID_CHARS)),
            format!("00-{TRACE}-{}-01", "0".repeat(SPAN_ID_CHARS)),
            format!("00-{TRACE}-{SPAN}-0g"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }
}
