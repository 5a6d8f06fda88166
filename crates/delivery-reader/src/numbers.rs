//! Number formats of a workbook: converts numbers to the text that a spreadsheet program shows.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};

/// Length of the longest format code, in bytes; Excel accepts 255 characters.
const MAX_FORMAT_BYTES: usize = 1024;

/// The number format of a cell, as far as codes and dates need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum NumberFormat {
    #[default]
    General,
    Date,
    /// A time of day.
    Time,
    /// A duration, as in `[h]:mm`.
    Duration,
    /// Digits with leading zeros and literal characters: `0` stands for a digit, `\` precedes a literal.
    Digits(String),
}

impl NumberFormat {
    /// Returns the built-in format of an id; workbooks do not spell those out.
    pub(crate) fn built_in(id: &str) -> Self {
        match id.parse::<u8>() {
            Ok(14..=17 | 22 | 27..=31 | 34..=36 | 50..=54 | 57..=58) => Self::Date,
            Ok(18..=21 | 32..=33 | 45 | 47 | 55..=56) => Self::Time,
            Ok(46) => Self::Duration,
            _ => Self::General,
        }
    }

    /// Parses a format code such as `dd/mm/yyyy` or `"GC-"00000`.
    pub(crate) fn parse(code: &str) -> Self {
        // No program writes longer ones, and each cell format holds a copy.
        if code.len() > MAX_FORMAT_BYTES {
            return Self::General;
        }
        // `m` means minutes beside hours or seconds, else months.
        let (mut date, mut month, mut time) = (false, false, false);
        let mut digits = String::new();
        let (mut places, mut only_digits) = (0, true);
        let mut characters = code.chars();
        while let Some(c) = characters.next() {
            match c {
                // The first section is for positive numbers.
                ';' => break,
                '\\' => {
                    if let Some(c) = characters.next() {
                        digits.extend(['\\', c]);
                    }
                }
                '"' => {
                    for c in characters.by_ref().take_while(|c| *c != '"') {
                        digits.extend(['\\', c]);
                    }
                }
                '_' | '*' => {
                    characters.next();
                }
                '[' => {
                    let inside: String = characters.by_ref().take_while(|c| *c != ']').collect();
                    let inside = inside.to_ascii_lowercase();
                    if !inside.is_empty() && inside.chars().all(|c| matches!(c, 'h' | 'm' | 's')) {
                        return Self::Duration;
                    }
                }
                'y' | 'Y' | 'd' | 'D' => date = true,
                'h' | 'H' | 's' | 'S' => time = true,
                'm' | 'M' => month = true,
                '0' => {
                    places += 1;
                    digits.push('0');
                }
                '-' | ' ' | '/' | ':' => digits.extend(['\\', c]),
                _ => only_digits = false,
            }
        }
        if date || (month && !time) {
            Self::Date
        } else if time {
            Self::Time
        } else if only_digits && places > 1 {
            Self::Digits(digits)
        } else {
            Self::General
        }
    }

    pub(crate) fn show(&self, number: f64, from_1904: bool) -> String {
        let shown = match self {
            Self::General => None,
            Self::Date => date_time(number, from_1904).map(|at| {
                if at.time() == chrono::NaiveTime::MIN {
                    at.format("%Y-%m-%d").to_string()
                } else {
                    at.format("%Y-%m-%dT%H:%M:%S").to_string()
                }
            }),
            // A whole part is a date.
            Self::Time if number >= 1.0 => return Self::Date.show(number, from_1904),
            Self::Time => date_time(number, false).map(|time| time.format("%H:%M:%S").to_string()),
            Self::Duration => whole(number * 86_400.0).map(|seconds| {
                let (minutes, seconds) = (seconds / 60, seconds % 60);
                format!("{:02}:{:02}:{:02}", minutes / 60, minutes % 60, seconds)
            }),
            Self::Digits(pattern) => whole(number)
                .filter(|whole| exact(*whole, number))
                .map(|number| fill(pattern, number)),
        };
        shown.unwrap_or_else(|| general(number))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked"
)]
fn whole(number: f64) -> Option<u64> {
    (0.0..1e15).contains(&number).then(|| number.round() as u64)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "a number below 10^15 is exact"
)]
fn exact(whole: u64, number: f64) -> bool {
    whole as f64 == number
}

/// Formats a number without an exponent, with the 15 digits that spreadsheets have.
fn general(number: f64) -> String {
    let rounded = format!("{number:.14e}").parse().unwrap_or(number);
    // No negative zero.
    format!("{}", rounded + 0.0)
}

fn date_time(number: f64, from_1904: bool) -> Option<NaiveDateTime> {
    let days = if from_1904 { number + 1462.0 } else { number };
    // The calendar of spreadsheets has a 29 February 1900, so the numbers of days before it are lower by one.
    let days = if days < 60.0 { days + 1.0 } else { days };
    let seconds = whole(days * 86_400.0)?;
    NaiveDate::from_ymd_opt(1899, 12, 30)?
        .and_time(chrono::NaiveTime::MIN)
        .checked_add_signed(TimeDelta::try_seconds(i64::try_from(seconds).ok()?)?)
        .filter(|at| chrono::Datelike::year(at) <= 9999)
}

/// Fills the places of a pattern with the digits of a number; surplus digits go to the first place.
fn fill(pattern: &str, number: u64) -> String {
    let places = {
        let mut places = 0;
        let mut characters = pattern.chars();
        while let Some(c) = characters.next() {
            match c {
                '\\' => {
                    characters.next();
                }
                _ => places += 1,
            }
        }
        places
    };
    let digits = format!("{number:0places$}");
    let mut digits_left = digits.chars();
    let mut more = digits.len() - places;
    let mut filled = String::new();
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c == '\\' {
            filled.extend(characters.next());
        } else {
            filled.extend(digits_left.by_ref().take(more + 1));
            more = 0;
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_no_program_writes_is_ignored() {
        let zeros = |count| NumberFormat::parse(&"0".repeat(count));
        assert_eq!(zeros(255).show(7.0, false).len(), 255);
        assert_eq!(zeros(100_000), NumberFormat::General);
    }

    #[test]
    fn a_number_is_read_as_shown() {
        for (code, number, shown) in [
            ("General", 1_234_567_890_123.0, "1234567890123"),
            ("General", 123_456_789_012_345_680.0, "123456789012346000"),
            ("General", 5.0, "5"),
            ("General", 0.1 + 0.2, "0.3"),
            ("General", -0.0, "0"),
            ("General", -12.5, "-12.5"),
            ("0", 7.0, "7"),
            ("@", 7.0, "7"),
            ("#,##0.00", 1234.5, "1234.5"),
            ("00000", 42.0, "00042"),
            ("00000", 1_234_567.0, "1234567"),
            ("00000", 1.5, "1.5"),
            ("00000", -4.0, "-4"),
            ("000-000", 12_345.0, "012-345"),
            ("\"GC \"0000", 7.0, "GC 0007"),
            ("0000\\X", 7.0, "0007X"),
            ("dd/mm/yyyy", 46_387.0, "2026-12-31"),
            ("mmm-yy", 46_387.0, "2026-12-31"),
            ("yyyy\\-mm\\-dd hh:mm", 46_387.75, "2026-12-31T18:00:00"),
            (
                "[$-409]d/m/yy h:mm AM/PM;@",
                46_387.75,
                "2026-12-31T18:00:00",
            ),
            ("[Red]0.00", 3.0, "3"),
            ("h:mm", 0.5, "12:00:00"),
            ("[h]:mm", 1.5, "36:00:00"),
            ("d", 1.0, "1900-01-01"),
            ("d", 61.0, "1900-03-01"),
            ("d", 1e12, "1000000000000"),
        ] {
            assert_eq!(
                NumberFormat::parse(code).show(number, false),
                shown,
                "{code} {number}"
            );
        }
        assert_eq!(
            NumberFormat::built_in("14").show(46_387.0, false),
            "2026-12-31"
        );
        assert_eq!(NumberFormat::built_in("49").show(46_387.0, false), "46387");
        assert_eq!(
            NumberFormat::built_in("14").show(44_925.0, true),
            "2026-12-31"
        );
        assert_eq!(NumberFormat::built_in("21").show(0.25, true), "06:00:00");
    }
}
