//! Validates codes. A code is a limited number of UTF-8 characters without control characters. It is stored as written
//! except for surrounding blanks.
//!
//! A `Cell` collects the pieces of one. It holds 4 KiB at most, and records whether the rest was blank, so that a cell of
//! any length takes the same memory.

use crate::{Rejection, RejectionReason};

/// Most characters of a rejected code that a report repeats.
const MAX_REPORTED_CHARS: usize = 255;

/// Most bytes that a cell holds. A code of 255 characters needs 1,020; the rest is room for blanks around it.
const MAX_CELL_BYTES: usize = 4096;

/// Matches white space, and the byte order mark that concatenated files leave between rows.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Validates a text as a code of at most `max_chars` characters.
pub(crate) fn validate(text: &str, max_chars: usize) -> Result<String, Rejection> {
    let code = text.trim_matches(is_blank);
    let reason = if code.is_empty() {
        RejectionReason::Empty
    } else if is_longer(code, max_chars) {
        RejectionReason::TooLong
    } else if code.chars().any(char::is_control) {
        RejectionReason::ControlCharacter
    } else {
        return Ok(code.to_owned());
    };
    Err(reject(code, reason))
}

pub(crate) fn reject(text: &str, reason: RejectionReason) -> Rejection {
    Rejection {
        code: printable(text),
        reason,
    }
}

/// Makes a text safe for storage and reports: without control characters, at most 255 characters and an ellipsis.
pub(crate) fn printable(text: &str) -> String {
    let text = text.trim_matches(is_blank);
    let mut printable: String = text
        .chars()
        .take(MAX_REPORTED_CHARS)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if is_longer(text, MAX_REPORTED_CHARS) {
        printable.push('…');
    }
    printable
}

fn is_longer(text: &str, limit: usize) -> bool {
    // Most codes have so few bytes that counting characters is not needed.
    text.len() > limit && text.chars().nth(limit).is_some()
}

/// Collects the bytes of a cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    bytes: Vec<u8>,
    /// Something other than blanks followed the bytes that are held.
    overflowed: bool,
}

impl Cell {
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut cell = Self::default();
        cell.push(bytes);
        cell
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.overflowed = false;
    }

    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        while piece.len() > MAX_CELL_BYTES - self.bytes.len() {
            let (fits, rest) = piece.split_at(MAX_CELL_BYTES - self.bytes.len());
            self.bytes.extend_from_slice(fits);
            piece = rest;
            if !self.drop_leading_blanks() {
                self.overflowed |= !piece.trim_ascii().is_empty();
                return;
            }
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Makes room, if there are leading blanks; returns false if there are none.
    fn drop_leading_blanks(&mut self) -> bool {
        // The last character may still be incomplete: only the valid start can be blank.
        let valid = self
            .bytes
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid());
        let blanks = valid.len() - valid.trim_start_matches(is_blank).len();
        self.bytes.drain(..blanks);
        blanks > 0
    }

    pub(crate) fn is_blank(&self) -> bool {
        !self.overflowed && str::from_utf8(&self.bytes).is_ok_and(|text| text.chars().all(is_blank))
    }

    /// The text, if it is complete and UTF-8.
    pub(crate) fn text(&self) -> Result<&str, Rejection> {
        let reason = match str::from_utf8(&self.bytes) {
            _ if self.overflowed => RejectionReason::TooLong,
            Err(_) => RejectionReason::InvalidEncoding,
            Ok(text) => return Ok(text),
        };
        Err(reject(&String::from_utf8_lossy(&self.bytes), reason))
    }

    /// The code in the cell.
    pub(crate) fn code(&self, max_chars: usize) -> Result<String, Rejection> {
        self.text().and_then(|text| validate(text, max_chars))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(pieces: &[&[u8]]) -> Cell {
        let mut cell = Cell::default();
        for piece in pieces {
            cell.push(piece);
        }
        cell
    }

    fn reason(text: &str) -> Option<RejectionReason> {
        validate(text, 255).err().map(|rejection| rejection.reason)
    }

    #[test]
    fn a_code_is_stored_as_written_without_the_blanks_around_it() {
        assert_eq!(
            validate("\u{feff}\u{a0} \tKey 10% é\u{2003}\r\n", 255),
            Ok("Key 10% é".to_owned())
        );
    }

    #[test]
    fn a_code_has_at_most_255_characters_whatever_their_bytes() {
        assert_eq!(reason(&"🎁".repeat(255)), None);
        assert_eq!(reason(&"🎁".repeat(256)), Some(RejectionReason::TooLong));
    }

    #[test]
    fn a_code_has_no_control_characters_inside() {
        for text in ["A\0B", "\0A", "A\tB", "A\nB", "A\u{85}B", "A\u{7f}"] {
            assert_eq!(
                reason(text),
                Some(RejectionReason::ControlCharacter),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_report_repeats_printable_and_short_text() {
        assert_eq!(
            validate("A\0\u{1b}B", 255).expect_err("control").code,
            "A\u{fffd}\u{fffd}B"
        );
        assert_eq!(
            cell(&[b"caf\xe9"]).code(255),
            Err(Rejection {
                code: "caf\u{fffd}".to_owned(),
                reason: RejectionReason::InvalidEncoding
            })
        );
        assert_eq!(
            validate(&"é".repeat(300), 255).expect_err("long").code,
            format!("{}…", "é".repeat(255))
        );
    }

    #[test]
    fn a_cell_of_any_length_holds_4_kib_and_is_too_long() {
        let mut long = Cell::default();
        (0..1000).for_each(|_| long.push(&[b'x'; 5000]));
        assert_eq!(long.bytes.len(), MAX_CELL_BYTES);
        assert_eq!(
            long.code(255),
            Err(Rejection {
                code: format!("{}…", "x".repeat(255)),
                reason: RejectionReason::TooLong
            })
        );
    }

    #[test]
    fn any_number_of_blanks_around_a_code_is_no_part_of_it() {
        let blanks = " ".repeat(10_000) + &"\u{2003}".repeat(5_001);
        let cell = cell(&[blanks.as_bytes(), b"A", &[b' '; 9_000]]);
        assert!(cell.bytes.len() <= MAX_CELL_BYTES);
        assert_eq!(cell.code(255), Ok("A".to_owned()));
    }

    #[test]
    fn a_cell_of_nothing_but_blanks_is_blank_at_any_length() {
        let blank = cell(&["\u{a0}\u{feff} ".repeat(9_999).as_bytes()]);
        assert!(blank.is_blank());
        assert_eq!(
            blank.code(255),
            Err(Rejection {
                code: String::new(),
                reason: RejectionReason::Empty
            })
        );
    }

    #[test]
    fn a_cell_is_the_same_however_it_was_cut() {
        let text = format!("{}ä{}", "\u{2003} ".repeat(2_000), " ".repeat(50));
        for size in 1..8 {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(cell(&pieces).code(255), Ok("ä".to_owned()), "{size}");
        }
    }
}
