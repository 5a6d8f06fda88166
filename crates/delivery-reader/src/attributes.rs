//! Attributes of a code: names and values, as the text of a JSON object.

use crate::{Rejection, RejectionReason, code::is_blank};

/// Most attributes of a code.
pub(crate) const MAX_ATTRIBUTES: usize = 50;

/// Most characters of a value.
const MAX_VALUE_CHARS: usize = 1000;

/// Collects the attributes of a row.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// The names of columns as JSON.
    names: Vec<String>,
    json: String,
    fault: Option<RejectionReason>,
}

impl Attributes {
    /// Prepares the names of a table's columns. A repeated name is followed by the number of its place.
    pub(crate) fn named(columns: &[String]) -> Self {
        let mut names: Vec<String> = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            let mut name = quoted(column);
            if names.contains(&name) {
                name = quoted(&format!("{column} ({})", place + 1));
            }
            names.push(name);
        }
        Self {
            names,
            ..Self::default()
        }
    }

    /// Adds the value of a column, by its place among the attributes.
    pub(crate) fn add(&mut self, place: usize, value: Result<&str, Rejection>) {
        match value {
            Ok(value) => Self::put(&mut self.json, &mut self.fault, &self.names[place], value),
            Err(rejection) => {
                self.fault = Some(match rejection.reason {
                    RejectionReason::TooLong => RejectionReason::AttributeTooLong,
                    other => other,
                });
            }
        }
    }

    pub(crate) fn add_named(&mut self, name: &str, value: &str) {
        Self::put(&mut self.json, &mut self.fault, &quoted(name), value);
    }

    fn put(json: &mut String, fault: &mut Option<RejectionReason>, name: &str, value: &str) {
        let value = value.trim_matches(is_blank);
        if value.is_empty() {
            return;
        }
        if value.len() > MAX_VALUE_CHARS && value.chars().nth(MAX_VALUE_CHARS).is_some() {
            *fault = Some(RejectionReason::AttributeTooLong);
        } else if value.contains('\0') {
            // Databases cannot store it in a text.
            *fault = Some(RejectionReason::ControlCharacter);
        } else {
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(name);
            json.push(':');
            json.push_str(&quoted(value));
        }
    }

    /// Returns the object, or `None` if it is empty, and starts the next row.
    pub(crate) fn take(&mut self) -> Result<Option<String>, RejectionReason> {
        let mut json = std::mem::take(&mut self.json);
        if let Some(reason) = self.fault.take() {
            return Err(reason);
        }
        if json.is_empty() {
            return Ok(None);
        }
        json.push('}');
        Ok(Some(json))
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
