//! Which column of a table holds the codes, as far as its name and its values tell.
//!
//! Codes are there in each row, no two are the same, they have no blanks inside, and they look alike: as long, with
//! their dashes at the same places. Ids that count up, dates, prices and addresses are told apart from them.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use super::{code::printable, header};
use crate::time_zone::Zone;

/// The values that a preview shows.
const SAMPLES: usize = 5;

/// What was seen of a column.
#[derive(Default)]
pub(super) struct Column {
    pub(super) samples: Vec<String>,
    pub(super) filled: usize,
    values: HashSet<u64>,
    shapes: HashMap<u64, usize>,
    /// Without blanks inside and of a usual length.
    words: usize,
    with_digits: usize,
    short_numbers: usize,
    /// Dates, prices, addresses and numbers that count up.
    others: usize,
    last_number: Option<u64>,
    hasher: RandomState,
}

impl Column {
    pub(super) fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        self.filled += 1;
        let is_new = self.values.insert(self.hasher.hash_one(value));
        if is_new && self.samples.len() < SAMPLES {
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
        let counts_up = number.is_some() && number == self.last_number.map(|last| last + 1);
        self.last_number = number.filter(|number| *number < u64::MAX);
        self.others += usize::from(counts_up || is_other(value));
    }

    pub(super) fn unique(&self) -> usize {
        self.values.len()
    }

    /// From 0 to 1: how much the values look like codes, of a table with so many rows.
    fn likeness(&self, rows: usize) -> f64 {
        if self.filled == 0 {
            return 0.0;
        }
        let share = |count: usize| ratio(count, self.filled);
        let alike = self.shapes.values().max().copied().unwrap_or(0);
        let unique = share(self.unique());
        let looks = 0.3 + 0.4 * share(self.words) + 0.3 * share(alike);
        let digits = 0.7 + 0.3 * share(self.with_digits);
        let other = (1.0 - 0.9 * share(self.others)) * (1.0 - 0.4 * share(self.short_numbers));
        // Few rows prove little.
        let evidence = ratio(rows, rows + 1);
        ratio(self.filled, rows) * unique * unique * looks * digits * other * evidence
    }

    /// From 0 to 1: how sure it is that this is the code column. `name` is its name in the header.
    pub(super) fn confidence(&self, name: Option<&str>, rows: usize, only: bool) -> f64 {
        let likeness = self.likeness(rows);
        let confidence = if name.is_some_and(|name| header::rank(name).is_some()) {
            0.7 + 0.3 * likeness
        } else if only {
            0.5 + 0.5 * likeness
        } else {
            0.9 * likeness
        };
        (confidence * 100.0).round() / 100.0
    }

    /// Whether a first value is a name rather than a value like the others.
    pub(super) fn names(&self, first: &str) -> bool {
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

/// Letters and digits are one, since random codes mix them; all else stays.
fn shape(value: &str) -> String {
    let class = |c: char| if c.is_alphanumeric() { 'x' } else { c };
    value.chars().take(64).map(class).collect()
}

fn is_other(value: &str) -> bool {
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
        || Zone::UTC.read_moment(value).is_ok()
}
