//! Warnings of a delivery that was read, but possibly not as the sender intended.

use serde::Serialize;

/// A warning of rows that would be rejected or were skipped, or of an option that may be missing. It serializes to an object
/// in camel case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// The kind, in camel case.
    pub kind: &'static str,
    /// A sentence for people.
    pub detail: String,
    /// The number of rows that are affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// The first lines that are affected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<u32>,
}

impl Warning {
    pub(crate) fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            count: None,
            lines: Vec::new(),
        }
    }

    /// The encoding of a text was guessed from its letters.
    pub(crate) fn encoding_guessed(name: &str) -> Self {
        Self::new(
            "encodingGuessed",
            format!(
                "The text is not UTF-8. It was read as {name}; pass encoding if letters look wrong."
            ),
        )
    }

    /// Rows of a sheet were skipped; `None` if there were none.
    pub(crate) fn hidden_rows(count: usize) -> Option<Self> {
        (count > 0).then(|| Self {
            count: Some(count),
            ..Self::new(
                "hiddenRows",
                "Hidden rows of the sheet were skipped, such as those that a filter hides. Show them to import them.",
            )
        })
    }
}
