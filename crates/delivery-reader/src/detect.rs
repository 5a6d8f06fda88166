//! Detects the delimiter of a CSV file from its first bytes.
//!
//! The sample is parsed with each candidate, and the one whose rows agree best wins. If none wins, the file has one column,
//! and a comma in a code does not split it.

use std::{collections::BTreeMap, str::FromStr};

use crate::{
    code::is_blank,
    header::{self, ColumnRef, ColumnSelection},
};

/// Supported delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// The control character U+0009.
    Tab,
    /// `|`
    Pipe,
}

impl Delimiter {
    /// In order of preference: a comma or a pipe inside a value is more likely than a tab or a semicolon.
    const ALL: [Self; 4] = [Self::Tab, Self::Semicolon, Self::Pipe, Self::Comma];

    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
            Self::Pipe => b'|',
        }
    }

    /// The character as a text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Comma => ",",
            Self::Semicolon => ";",
            Self::Tab => "\t",
            Self::Pipe => "|",
        }
    }
}

/// Error for a text that is not one of `,` `;` tab and `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delimiter is one of , ; | and tab (as the character, as \\t or as the word)")]
pub struct UnknownDelimiter;

impl FromStr for Delimiter {
    type Err = UnknownDelimiter;

    fn from_str(text: &str) -> Result<Self, UnknownDelimiter> {
        match text {
            "," => Ok(Self::Comma),
            ";" => Ok(Self::Semicolon),
            "\t" | "\\t" | "tab" => Ok(Self::Tab),
            "|" => Ok(Self::Pipe),
            _ => Err(UnknownDelimiter),
        }
    }
}

/// The delimiter that a first line `sep=;` declares to Excel, and the length of that line without its end.
pub(crate) fn declared(sample: &[u8]) -> Option<(Delimiter, usize)> {
    let [s, e, p, b'=', byte, rest @ ..] = sample else {
        return None;
    };
    let ends = matches!(rest.first(), None | Some(b'\r' | b'\n'));
    let delimiter = Delimiter::ALL
        .into_iter()
        .find(|delimiter| delimiter.byte() == *byte)?;
    (ends && [*s, *e, *p].eq_ignore_ascii_case(b"sep")).then_some((delimiter, 5))
}

/// Returns the likeliest delimiter, or `None` for a file of one column. `whole` is true if the sample is not truncated.
pub(crate) fn detect(sample: &[u8], whole: bool, selection: &ColumnSelection) -> Option<Delimiter> {
    let mut best: Option<(DelimiterScore, Delimiter)> = None;
    for delimiter in Delimiter::ALL {
        let score = SampleTable::parse(sample, whole, delimiter, selection).score();
        if let Some(score) = score
            && best.as_ref().is_none_or(|(most, _)| score > *most)
        {
            best = Some((score, delimiter));
        }
    }
    best.map(|(_, delimiter)| delimiter)
}

/// Quality of a delimiter for a sample; the greater the better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct DelimiterScore {
    /// The first row, split by the delimiter, has the code column.
    has_code_column: bool,
    agreement: usize,
}

/// A sample as one delimiter splits it.
#[derive(Default)]
struct SampleTable {
    rows: usize,
    first_width: usize,
    has_code_column: bool,
    /// By the number of columns: the number of rows, and of those without a quote inside a cell. A delimiter inside quotes
    /// leaves such a quote behind.
    widths: BTreeMap<usize, (usize, usize)>,
}

impl SampleTable {
    fn parse(
        sample: &[u8],
        whole: bool,
        delimiter: Delimiter,
        selection: &ColumnSelection,
    ) -> Self {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter.byte())
            .from_reader(sample);
        let mut table = Self::default();
        let mut row = csv::ByteRecord::new();
        while reader.read_byte_record(&mut row).is_ok_and(|more| more) {
            // The last row may be truncated.
            let last = reader.position().byte() >= sample.len() as u64;
            if last && !whole && table.rows > 0 {
                break;
            }
            table.add(&row, selection);
        }
        table
    }

    fn add(&mut self, row: &csv::ByteRecord, selection: &ColumnSelection) {
        let width = row.len();
        if width == 1 && str::from_utf8(&row[0]).is_ok_and(|text| text.chars().all(is_blank)) {
            return;
        }
        if self.rows == 0 {
            self.first_width = width;
            self.has_code_column = has_code_column(row, selection);
        }
        self.rows += 1;
        let (rows, clean) = self.widths.entry(width).or_default();
        *rows += 1;
        *clean += usize::from(!row.as_slice().contains(&b'"'));
    }

    fn score(&self) -> Option<DelimiterScore> {
        let (&width, &(same, clean)) = self.widths.iter().max_by_key(|(_, (rows, _))| *rows)?;
        let consistent = width > 1 && 4 * same >= 3 * self.rows;
        if !consistent && !self.has_code_column {
            return None;
        }
        let share = 1000 * clean / self.rows;
        let agreement = share * share * (10 + width.ilog2() as usize)
            / if width == self.first_width { 1 } else { 2 };
        Some(DelimiterScore {
            has_code_column: self.has_code_column,
            agreement,
        })
    }
}

fn has_code_column(row: &csv::ByteRecord, selection: &ColumnSelection) -> bool {
    let is_code_name =
        |cell| str::from_utf8(cell).is_ok_and(|cell| header::is_code_name(cell, selection));
    let width = selection.width();
    match selection.codes {
        Some(ColumnRef::Numbered(_)) if width > 1 => row.len() >= width,
        _ => row.len() >= width.max(2) && row.iter().any(is_code_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(codes: &str, expiries: &str) -> ColumnSelection {
        ColumnSelection {
            codes: ColumnRef::parse(codes),
            expiries: ColumnRef::parse(expiries),
            ..ColumnSelection::default()
        }
    }

    #[test]
    fn the_delimiter_is_the_one_whose_rows_agree() {
        let samples: [(&str, Option<Delimiter>); 26] = [
            ("code\nA1\nA2\n", None),
            ("A1\n", None),
            ("code,note\nA1,x\nA2,y\n", Some(Delimiter::Comma)),
            ("code;note\nA1;x\nA2;y\n", Some(Delimiter::Semicolon)),
            ("code\tnote\nA1\tx\nA2\ty\n", Some(Delimiter::Tab)),
            ("code|note\nA1|x\nA2|y\n", Some(Delimiter::Pipe)),
            ("code;price\nA1;1,50\nA2;2,00\n", Some(Delimiter::Semicolon)),
            ("A1;1,50\nA2;2,00\n", Some(Delimiter::Semicolon)),
            (
                "Bezeichnung;Preis\nA1;1,50\nA2;2,00\nA3;3,00\nA4;4,00\n",
                Some(Delimiter::Semicolon),
            ),
            ("name,tags\nA1,x;y\nA2,\nA3,x;y;z\n", Some(Delimiter::Comma)),
            ("\"A;1\",\"x\"\n\"A;2\",\"y\"\n", Some(Delimiter::Comma)),
            ("\"A,1\";\"x\"\n\"A,2\";\"y\"\n", Some(Delimiter::Semicolon)),
            ("\"A1\",\"x;y\"\n\"A2\",\"z;w\"\n", Some(Delimiter::Comma)),
            (
                "id,code,text\r\n1,A1,\"a\r\nb; c\"\r\n2,A2,\"d; e\"\r\n",
                Some(Delimiter::Comma),
            ),
            ("10% less, summer\nAUTUMN\nWINTER\nSPRING\n", None),
            ("A1\nA2\nA,3\nA4\nA;5\n", None),
            ("A,1\nB\nC,2\nD\nE,3\n", None),
            ("code,note\nA1\n", Some(Delimiter::Comma)),
            (
                "Kundengruppe;Code\nalle, neue;A1\n",
                Some(Delimiter::Semicolon),
            ),
            ("A1,x,1\nA2,y,2\nA3,z\nA4,w,4\n", Some(Delimiter::Comma)),
            ("A1\rA2\rA3\r", None),
            ("code;n\rA1;1\rA2;2\r", Some(Delimiter::Semicolon)),
            ("\n\n   \ncode;n\nA1;1\n", Some(Delimiter::Semicolon)),
            (
                "code;valid until\nA1;Mon, 1 Jan, 10:00\nA2;Tue, 2 Jan, 11:00\n",
                Some(Delimiter::Semicolon),
            ),
            ("A1\t1,5\t2;5\nA2\t1,5\t2;5\n", Some(Delimiter::Tab)),
            ("", None),
        ];
        for (sample, delimiter) in samples {
            assert_eq!(
                detect(sample.as_bytes(), true, &ColumnSelection::default()),
                delimiter,
                "{sample:?}"
            );
        }
    }

    #[test]
    fn the_name_of_the_code_column_decides_the_delimiter() {
        let sample = b"Price, net;My key\n1,5;A1\n2,5;A2\n";
        assert_eq!(
            detect(sample, true, &selection("my key", "")),
            Some(Delimiter::Semicolon)
        );
    }

    #[test]
    fn the_number_of_a_column_means_that_there_are_several() {
        let sample = b"1,A1\n2\n3\n4\n";
        for (selection, delimiter) in [
            (selection("", ""), None),
            (selection("2", ""), Some(Delimiter::Comma)),
            (selection("1", ""), None),
            (selection("1", "2"), Some(Delimiter::Comma)),
            (selection("1", "3"), None),
        ] {
            assert_eq!(detect(sample, true, &selection), delimiter, "{selection:?}");
        }
    }

    #[test]
    fn a_truncated_row_does_not_count() {
        let sample = b"a1,b,c\na2,b";
        let selection = ColumnSelection::default();
        assert_eq!(detect(sample, true, &selection), None);
        assert_eq!(detect(sample, false, &selection), Some(Delimiter::Comma));
    }

    #[test]
    fn excels_first_line_declares_the_delimiter() {
        assert_eq!(declared(b"sep=;\r\nA;1"), Some((Delimiter::Semicolon, 5)));
        assert_eq!(declared(b"SEP=\t\n"), Some((Delimiter::Tab, 5)));
        assert_eq!(declared(b"sep=;"), Some((Delimiter::Semicolon, 5)));
        for other in [&b"sep=;;\n"[..], b"sep=x\n", b"sep=", b"set=;\n", b""] {
            assert_eq!(declared(other), None);
        }
    }

    #[test]
    fn a_delimiter_is_named_by_its_character_or_as_tab() {
        for delimiter in Delimiter::ALL {
            assert_eq!(delimiter.as_str().parse(), Ok(delimiter));
        }
        assert_eq!("tab".parse(), Ok(Delimiter::Tab));
        assert_eq!("\\t".parse(), Ok(Delimiter::Tab));
        assert_eq!("\"".parse::<Delimiter>(), Err(UnknownDelimiter));
    }
}
