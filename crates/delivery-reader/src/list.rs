//! Reads a list: codes separated by line breaks, commas, semicolons, tabs and blanks.
//!
//! It has no header, no quotes and no blank rows. Blanks beyond ASCII, which text copied from a web page contains, separate
//! codes as well.

use std::io::Read;

use crate::{
    DeliveryFault, ReadError, Row, RowRules,
    code::{Cell, is_blank, validate},
    input::InputBuffer,
    markup,
};

/// Pushes each code of a list into the sink.
pub(crate) fn read_list<E>(
    input: impl Read,
    rules: RowRules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let mut source = InputBuffer::open(input)?;
    markup::check(source.sample().0)?;
    let (mut word, mut line) = (Cell::default(), 1);
    let mut pushed = 0_u64;
    let mut push = |word: &mut Cell, line| {
        pushed += push_words(word, line, rules, sink).map_err(ReadError::Sink)?;
        word.clear();
        Ok::<(), ReadError<E>>(())
    };
    loop {
        let input = source.fill()?;
        let Some(byte) = input.first() else { break };
        if separates(*byte) {
            push(&mut word, line)?;
            let separators = input.iter().take_while(|byte| separates(**byte)).count();
            source.consume(separators);
            line = source.line();
        } else {
            let end = input
                .iter()
                .position(|byte| separates(*byte))
                .unwrap_or(input.len());
            word.push(&input[..end]);
            source.consume(end);
        }
    }
    push(&mut word, line)?;
    if pushed == 0 {
        Err(DeliveryFault::Empty.into())
    } else {
        Ok(())
    }
}

pub(crate) fn separates(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b',' | b';' | b'\t' | b' ')
}

/// Pushes the codes between two separators, which are mostly one.
fn push_words<E>(
    word: &Cell,
    line: u32,
    rules: RowRules,
    sink: &mut impl FnMut(Row) -> Result<(), E>,
) -> Result<u64, E> {
    let mut pushed = 0;
    let mut push = |code| {
        pushed += 1;
        sink(Row {
            line,
            code,
            expires_at: None,
            attributes: None,
        })
    };
    match word.text() {
        Ok(text) => {
            for code in text.split(is_blank).filter(|code| !code.is_empty()) {
                push(validate(code, rules.max_code_chars))?;
            }
        }
        Err(rejection) => push(Err(rejection))?,
    }
    Ok(pushed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RejectionReason, tests::rules};

    fn read(input: &[u8]) -> Result<Vec<(u32, String)>, ReadError<()>> {
        let mut rows = Vec::new();
        read_list(input, rules(), &mut |row| {
            rows.push((
                row.line,
                row.code
                    .unwrap_or_else(|rejection| rejection.reason.as_str().to_owned()),
            ));
            Ok(())
        })?;
        Ok(rows)
    }

    fn codes(input: &str) -> Vec<(u32, String)> {
        read(input.as_bytes()).expect("a list")
    }

    fn rows(rows: &[(u32, &str)]) -> Vec<(u32, String)> {
        rows.iter()
            .map(|(line, code)| (*line, (*code).to_owned()))
            .collect()
    }

    #[test]
    fn line_breaks_commas_semicolons_tabs_and_blanks_separate_codes() {
        assert_eq!(
            codes("A,B;C\tD E\nF\r\nG\rH, I\u{a0}J\u{2003}K"),
            rows(&[
                (1, "A"),
                (1, "B"),
                (1, "C"),
                (1, "D"),
                (1, "E"),
                (2, "F"),
                (3, "G"),
                (4, "H"),
                (4, "I"),
                (4, "J"),
                (4, "K"),
            ])
        );
    }

    #[test]
    fn any_run_of_separators_is_one() {
        assert_eq!(
            codes("\u{feff}\n ,; A ,\r\n\r\n;;B,\n"),
            rows(&[(2, "A"), (4, "B")])
        );
    }

    #[test]
    fn a_list_without_a_code_is_a_fault() {
        for empty in ["", " \n,;\t", "\u{feff}\u{a0}"] {
            assert!(
                matches!(
                    read(empty.as_bytes()),
                    Err(ReadError::Fault(DeliveryFault::Empty))
                ),
                "{empty:?}"
            );
        }
    }

    #[test]
    fn utf_16_is_a_fault() {
        assert!(matches!(
            read(b"\xff\xfeA\0"),
            Err(ReadError::Fault(DeliveryFault::UnreadableEncoding))
        ));
    }

    #[test]
    fn an_invalid_code_is_a_row_of_its_own() {
        let input = [
            "A\nB\0B,caf\u{e9} ".as_bytes(),
            b"caf\xe9\n",
            "x".repeat(9_999).as_bytes(),
            b"\nZ",
        ]
        .concat();
        let (control, encoding, long) = (
            RejectionReason::ControlCharacter,
            RejectionReason::InvalidEncoding,
            RejectionReason::TooLong,
        );
        assert_eq!(
            read(&input).expect("a list"),
            rows(&[
                (1, "A"),
                (2, control.as_str()),
                (2, "café"),
                (2, encoding.as_str()),
                (3, long.as_str()),
                (4, "Z"),
            ])
        );
    }

    #[test]
    fn the_sink_can_end_the_reading() {
        let result = read_list(&b"A B"[..], rules(), &mut |row| Err(row.line));
        assert!(matches!(result, Err(ReadError::Sink(1))));
    }
}
