//! Field types that several features share.

use serde_json::Value;

use super::extract::{FieldValue, text};

/// A reason in the caller's words: 1 to 500 characters.
#[derive(Debug)]
pub(crate) struct Reason(pub String);

impl FieldValue for Reason {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 500).map(Self)
    }
}
