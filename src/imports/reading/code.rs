//! What is a code: a limited number of characters of UTF-8 without control characters, kept as written
//! except for the blanks around it.
//!
//! A `Cell` gathers one from pieces. It keeps 4 KiB at most, and still knows whether the rest was
//! blank, so that a cell of any length costs the same.

use super::{Reason, Rejection};

/// The most characters of what a report repeats of a rejected code.
const LONGEST: usize = 255;

/// The bytes that a cell keeps; a code needs 1,020 and the rest gives blanks around it some room.
const KEPT: usize = 4096;

/// White space, and the byte order mark that joined files leave between rows.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Judges text that came as characters; a code has at most so many.
pub(super) fn judge(text: &str, longest: usize) -> Result<String, Rejection> {
    let code = text.trim_matches(is_blank);
    let reason = if code.is_empty() {
        Reason::Empty
    } else if is_longer(code, longest) {
        Reason::TooLong
    } else if code.chars().any(char::is_control) {
        Reason::ControlCharacter
    } else {
        return Ok(code.to_owned());
    };
    Err(reject(code, reason))
}

pub(super) fn reject(text: &str, reason: Reason) -> Rejection {
    Rejection {
        code: printable(text),
        reason,
    }
}

/// Text that the database stores and a report shows: no control characters, at most 255 characters
/// and an ellipsis.
pub(super) fn printable(text: &str) -> String {
    let text = text.trim_matches(is_blank);
    let mut printable: String = text
        .chars()
        .take(LONGEST)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if is_longer(text, LONGEST) {
        printable.push('…');
    }
    printable
}

fn is_longer(text: &str, limit: usize) -> bool {
    // Most codes are so short in bytes that nobody has to count.
    text.len() > limit && text.chars().nth(limit).is_some()
}

/// A cell in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    kept: Vec<u8>,
    /// More than blanks came after the bytes that are kept.
    overflowed: bool,
}

impl Cell {
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut cell = Self::default();
        cell.push(bytes);
        cell
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.overflowed = false;
    }

    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while piece.len() > KEPT - self.kept.len() {
            let (fits, rest) = piece.split_at(KEPT - self.kept.len());
            self.kept.extend_from_slice(fits);
            piece = rest;
            if !self.drop_leading_blanks() {
                self.overflowed |= !piece.trim_ascii().is_empty();
                return;
            }
        }
        self.kept.extend_from_slice(piece);
    }

    /// Makes room; says whether there was any to make.
    fn drop_leading_blanks(&mut self) -> bool {
        // The last character may still be incomplete: only the valid start can be blank.
        let valid = self
            .kept
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid());
        let blanks = valid.len() - valid.trim_start_matches(is_blank).len();
        self.kept.drain(..blanks);
        blanks > 0
    }

    pub(super) fn is_blank(&self) -> bool {
        !self.overflowed && str::from_utf8(&self.kept).is_ok_and(|text| text.chars().all(is_blank))
    }

    /// The text, if it is all there and UTF-8.
    pub(super) fn text(&self) -> Result<&str, Rejection> {
        let reason = match str::from_utf8(&self.kept) {
            _ if self.overflowed => Reason::TooLong,
            Err(_) => Reason::InvalidEncoding,
            Ok(text) => return Ok(text),
        };
        Err(reject(&String::from_utf8_lossy(&self.kept), reason))
    }

    pub(super) fn judge(&self, longest: usize) -> Result<String, Rejection> {
        self.text().and_then(|text| judge(text, longest))
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

    fn reason(text: &str) -> Option<Reason> {
        judge(text, 255).err().map(|rejection| rejection.reason)
    }

    #[test]
    fn a_code_is_kept_as_written_without_the_blanks_around_it() {
        assert_eq!(
            judge("\u{feff}\u{a0} \tSave 10% é\u{2003}\r\n", 255),
            Ok("Save 10% é".to_owned())
        );
    }

    #[test]
    fn a_code_has_at_most_255_characters_whatever_their_bytes() {
        assert_eq!(reason(&"🎁".repeat(255)), None);
        assert_eq!(reason(&"🎁".repeat(256)), Some(Reason::TooLong));
    }

    #[test]
    fn a_code_has_no_control_characters_inside() {
        for text in ["A\0B", "\0A", "A\tB", "A\nB", "A\u{85}B", "A\u{7f}"] {
            assert_eq!(reason(text), Some(Reason::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn what_a_report_repeats_is_printable_and_short() {
        assert_eq!(
            judge("A\0\u{1b}B", 255).expect_err("control").code,
            "A\u{fffd}\u{fffd}B"
        );
        assert_eq!(
            cell(&[b"caf\xe9"]).judge(255),
            Err(Rejection {
                code: "caf\u{fffd}".to_owned(),
                reason: Reason::InvalidEncoding
            })
        );
        assert_eq!(
            judge(&"é".repeat(300), 255).expect_err("long").code,
            format!("{}…", "é".repeat(255))
        );
    }

    #[test]
    fn a_cell_of_any_length_keeps_4_kib_and_is_too_long() {
        let mut long = Cell::default();
        (0..1000).for_each(|_| long.push(&[b'x'; 5000]));
        assert_eq!(long.kept.len(), KEPT);
        assert_eq!(
            long.judge(255),
            Err(Rejection {
                code: format!("{}…", "x".repeat(255)),
                reason: Reason::TooLong
            })
        );
    }

    #[test]
    fn any_number_of_blanks_around_a_code_is_no_part_of_it() {
        let blanks = " ".repeat(10_000) + &"\u{2003}".repeat(5_001);
        let cell = cell(&[blanks.as_bytes(), b"A", &[b' '; 9_000]]);
        assert!(cell.kept.len() <= KEPT);
        assert_eq!(cell.judge(255), Ok("A".to_owned()));
    }

    #[test]
    fn a_cell_of_nothing_but_blanks_is_blank_at_any_length() {
        let blank = cell(&["\u{a0}\u{feff} ".repeat(9_999).as_bytes()]);
        assert!(blank.is_blank());
        assert_eq!(
            blank.judge(255),
            Err(Rejection {
                code: String::new(),
                reason: Reason::Empty
            })
        );
    }

    #[test]
    fn a_cell_does_not_care_how_it_was_cut() {
        let text = format!("{}ä{}", "\u{2003} ".repeat(2_000), " ".repeat(50));
        for size in 1..8 {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(cell(&pieces).judge(255), Ok("ä".to_owned()), "{size}");
        }
    }
}
