//! What is kept with a code besides its expiry: names and values, as the text of a JSON object.

use super::{Reason, Rejection};

/// The most attributes of a code.
pub(super) const MOST: usize = 50;

/// The most characters of a value.
const LONGEST: usize = 1000;

/// The attributes of a row in the making.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// The names of columns as JSON.
    names: Vec<String>,
    json: String,
    fault: Option<Reason>,
}

impl Attributes {
    /// Those of a table. A name that comes twice gets the number of its place.
    pub(super) fn named(columns: &[String]) -> Self {
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
    pub(super) fn add(&mut self, place: usize, value: Result<&str, Rejection>) {
        match value {
            Ok(value) => Self::put(&mut self.json, &mut self.fault, &self.names[place], value),
            Err(rejection) => {
                self.fault = Some(match rejection.reason {
                    Reason::TooLong => Reason::AttributeTooLong,
                    other => other,
                });
            }
        }
    }

    pub(super) fn add_named(&mut self, name: &str, value: &str) {
        Self::put(&mut self.json, &mut self.fault, &quoted(name), value);
    }

    fn put(json: &mut String, fault: &mut Option<Reason>, name: &str, value: &str) {
        let value = value.trim_matches(super::code::is_blank);
        if value.is_empty() {
            return;
        }
        if value.len() > LONGEST && value.chars().nth(LONGEST).is_some() {
            *fault = Some(Reason::AttributeTooLong);
        } else if value.contains('\0') {
            // The one character that the database cannot store.
            *fault = Some(Reason::ControlCharacter);
        } else {
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(name);
            json.push(':');
            json.push_str(&quoted(value));
        }
    }

    /// The object, if it has anything in it; after that it is empty again.
    pub(super) fn take(&mut self) -> Result<Option<String>, Reason> {
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
