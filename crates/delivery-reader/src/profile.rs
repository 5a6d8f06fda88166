//! Profiles of columns, from which a preview guesses the code column.
//!
//! Codes are present in each row, unique and without blanks inside, and have the same shape: equal length, with dashes at
//! the same places. Sequential ids, dates, prices and addresses reduce the confidence.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use chrono_tz::Tz;

use crate::{code::printable, timestamp::parse_timestamp};

/// Most values of a column that a preview shows.
const MAX_SAMPLES: usize = 5;

/// Counts of the values of a column.
#[derive(Default)]
pub(crate) struct ColumnProfile {
    pub(crate) samples: Vec<String>,
    pub(crate) filled: usize,
    values: HashSet<u64>,
    shapes: HashMap<u64, usize>,
    /// Values without blanks inside and of a length that is usual for codes.
    words: usize,
    with_digits: usize,
    short_numbers: usize,
    /// Dates, prices, addresses and sequential numbers.
    non_codes: usize,
    last_number: Option<u64>,
    hasher: RandomState,
}

impl ColumnProfile {
    pub(crate) fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        self.filled += 1;
        let is_new = self.values.insert(self.hasher.hash_one(value));
        if is_new && self.samples.len() < MAX_SAMPLES {
            self.samples.push(printable(value));
        }
        *self
            .shapes
            .entry(self.hasher.hash_one(shape(value)))
            .or_default() += 1;
        let length = value.chars().count();
        let is_word = !value.contains(char::is_whitespace) && (4..=64).contains(&length);
        self.words += usize::from(is_word);
        self.with_digits += usize::from(value.contains(|c: char| c.is_ascii_digit()));
        let number = value.parse::<u64>().ok();
        self.short_numbers += usize::from(number.is_some() && length < 6);
        let is_sequential = number.is_some() && number == self.last_number.map(|last| last + 1);
        self.last_number = number.filter(|number| *number < u64::MAX);
        self.non_codes += usize::from(is_sequential || is_non_code(value));
    }

    pub(crate) fn unique(&self) -> usize {
        self.values.len()
    }

    /// Similarity of the values to codes, from 0 to 1, in a table with this number of rows.
    fn likeness(&self, rows: usize) -> f64 {
        if self.filled == 0 {
            return 0.0;
        }
        let share = |count: usize| ratio(count, self.filled);
        let alike = self.shapes.values().max().copied().unwrap_or(0);
        let unique = share(self.unique());
        let looks = 0.3 + 0.4 * share(self.words) + 0.3 * share(alike);
        let digits = 0.7 + 0.3 * share(self.with_digits);
        let penalty = (1.0 - 0.9 * share(self.non_codes)) * (1.0 - 0.4 * share(self.short_numbers));
        // Few rows are weak evidence.
        let evidence = ratio(rows, rows + 1);
        ratio(self.filled, rows) * unique * unique * looks * digits * penalty * evidence
    }

    /// Confidence that this is the code column, from 0 to 1. `has_code_name` means that its name in the header is a known
    /// one, and `only` that the table has no other column.
    pub(crate) fn confidence(&self, has_code_name: bool, rows: usize, only: bool) -> f64 {
        let likeness = self.likeness(rows);
        let confidence = if has_code_name {
            0.7 + 0.3 * likeness
        } else if only {
            0.5 + 0.5 * likeness
        } else {
            0.9 * likeness
        };
        (confidence * 100.0).round() / 100.0
    }

    /// Returns true if the first value is a name rather than a value like the others.
    pub(crate) fn is_named_by(&self, first: &str) -> bool {
        let first = first.trim();
        let alike = self.shapes.get(&self.hasher.hash_one(shape(first)));
        !first.is_empty()
            && !first.contains(|c: char| c.is_ascii_digit())
            && alike.copied().unwrap_or(0) * 10 < self.filled
            && self.with_digits * 2 > self.filled
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows are few")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Replaces letters and digits by one letter, because random codes mix them.
fn shape(value: &str) -> String {
    let class = |c: char| if c.is_alphanumeric() { 'x' } else { c };
    value.chars().take(64).map(class).collect()
}

fn is_non_code(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let price = value
        .trim_matches(['€', '$', '£', '%', ' '])
        .rsplit_once(['.', ','])
        .is_some_and(|(whole, cents)| is_number(whole) && is_number(cents) && cents.len() <= 2);
    let date = {
        let parts: Vec<&str> = value
            .split(['/', '.', '-'])
            .filter(|part| is_number(part) && part.len() <= 4)
            .collect();
        parts.len() == 3 && value.len() <= 10 && parts.iter().any(|part| part.len() <= 2)
    };
    price
        || date
        || value.contains('@')
        || value.contains("://")
        || parse_timestamp(value, Tz::UTC).is_some()
}
