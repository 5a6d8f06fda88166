//! Guesses the delimiter of a CSV file from its first bytes.
//!
//! Each candidate parses the sample, and the one whose rows agree wins. None may win: then the file
//! is one column, and a comma that some codes hold cuts nothing.

use std::{collections::BTreeMap, str::FromStr};

use super::{
    code::is_blank,
    header::{self, Column, Told},
};

/// The delimiters that shops' files come with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Comma,
    Semicolon,
    Tab,
    Pipe,
}

impl Delimiter {
    /// Where two serve equally the earlier wins: a comma or a pipe inside a value is likelier than
    /// a tab or a semicolon.
    const ALL: [Self; 4] = [Self::Tab, Self::Semicolon, Self::Pipe, Self::Comma];

    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
            Self::Pipe => b'|',
        }
    }

    /// The character itself, as options and answers name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Comma => ",",
            Self::Semicolon => ";",
            Self::Tab => "\t",
            Self::Pipe => "|",
        }
    }
}

/// A delimiter that is none of `,` `;` tab and `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delimiter must be one of , ; | and tab (as the character, as \\t or as the word)")]
pub(crate) struct UnknownDelimiter;

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

/// The delimiter that a first line `sep=;` declares to Excel, and that line's length without its
/// end.
pub(super) fn declared(sample: &[u8]) -> Option<(Delimiter, usize)> {
    let [s, e, p, b'=', byte, rest @ ..] = sample else {
        return None;
    };
    let ends = matches!(rest.first(), None | Some(b'\r' | b'\n'));
    let delimiter = Delimiter::ALL
        .into_iter()
        .find(|delimiter| delimiter.byte() == *byte)?;
    (ends && [*s, *e, *p].eq_ignore_ascii_case(b"sep")).then_some((delimiter, 5))
}

/// The likeliest delimiter, or none for a file of one column. `whole` says that the sample is not
/// cut.
pub(super) fn detect(sample: &[u8], whole: bool, told: &Told) -> Option<Delimiter> {
    let mut best: Option<(Evidence, Delimiter)> = None;
    for delimiter in Delimiter::ALL {
        let evidence = Table::parse(sample, whole, delimiter, told).evidence();
        if let Some(evidence) = evidence
            && best.as_ref().is_none_or(|(most, _)| evidence > *most)
        {
            best = Some((evidence, delimiter));
        }
    }
    best.map(|(_, delimiter)| delimiter)
}

/// How well a delimiter explains a sample; the greater the better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Evidence {
    /// The first row, cut by the delimiter, has the code column.
    holds_the_codes: bool,
    agreement: usize,
}

/// A sample as one delimiter cuts it.
#[derive(Default)]
struct Table {
    rows: usize,
    first_width: usize,
    holds_the_codes: bool,
    /// By width: rows of it, and those without a quote inside a cell, which a delimiter inside
    /// quotes leaves behind.
    widths: BTreeMap<usize, (usize, usize)>,
}

impl Table {
    fn parse(sample: &[u8], whole: bool, delimiter: Delimiter, told: &Told) -> Self {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter.byte())
            .from_reader(sample);
        let mut table = Self::default();
        let mut row = csv::ByteRecord::new();
        while reader.read_byte_record(&mut row).is_ok_and(|more| more) {
            // The sample's end may have cut its last row.
            let last = reader.position().byte() >= sample.len() as u64;
            if last && !whole && table.rows > 0 {
                break;
            }
            table.add(&row, told);
        }
        table
    }

    fn add(&mut self, row: &csv::ByteRecord, told: &Told) {
        let width = row.len();
        if width == 1 && str::from_utf8(&row[0]).is_ok_and(|text| text.chars().all(is_blank)) {
            return;
        }
        if self.rows == 0 {
            self.first_width = width;
            self.holds_the_codes = holds_the_codes(row, told);
        }
        self.rows += 1;
        let (rows, clean) = self.widths.entry(width).or_default();
        *rows += 1;
        *clean += usize::from(!row.as_slice().contains(&b'"'));
    }

    fn evidence(&self) -> Option<Evidence> {
        let (&width, &(same, clean)) = self.widths.iter().max_by_key(|(_, (rows, _))| *rows)?;
        let consistent = width > 1 && 4 * same >= 3 * self.rows;
        if !consistent && !self.holds_the_codes {
            return None;
        }
        let share = 1000 * clean / self.rows;
        let agreement = share * share * (10 + width.ilog2() as usize)
            / if width == self.first_width { 1 } else { 2 };
        Some(Evidence {
            holds_the_codes: self.holds_the_codes,
            agreement,
        })
    }
}

fn holds_the_codes(row: &csv::ByteRecord, told: &Told) -> bool {
    let names_codes = |cell| str::from_utf8(cell).is_ok_and(|cell| header::names_codes(cell, told));
    let width = told.width();
    match told.codes {
        Some(Column::Numbered(_)) if width > 1 => row.len() >= width,
        _ => row.len() >= width.max(2) && row.iter().any(names_codes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(codes: &str, expiries: &str) -> Told {
        Told {
            codes: Column::parse(codes),
            expiries: Column::parse(expiries),
            ..Told::default()
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
            ("10% off, summer\nSAVE\nWINTER\nSPRING\n", None),
            ("A1\nA2\nA,3\nA4\nA;5\n", None),
            ("A,1\nB\nC,2\nD\nE,3\n", None),
            ("code,note\nA1\n", Some(Delimiter::Comma)),
            (
                "Kundengruppe;Gutscheincode\nalle, neue;A1\n",
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
                detect(sample.as_bytes(), true, &Told::default()),
                delimiter,
                "{sample:?}"
            );
        }
    }

    #[test]
    fn the_name_of_the_code_column_tells_the_delimiter() {
        let sample = b"Price, net;My key\n1,5;A1\n2,5;A2\n";
        assert_eq!(
            detect(sample, true, &told("my key", "")),
            Some(Delimiter::Semicolon)
        );
    }

    #[test]
    fn the_number_of_a_column_tells_that_there_are_several() {
        let sample = b"1,A1\n2\n3\n4\n";
        for (told, delimiter) in [
            (told("", ""), None),
            (told("2", ""), Some(Delimiter::Comma)),
            (told("1", ""), None),
            (told("1", "2"), Some(Delimiter::Comma)),
            (told("1", "3"), None),
        ] {
            assert_eq!(detect(sample, true, &told), delimiter, "{told:?}");
        }
    }

    #[test]
    fn a_row_that_the_sample_cuts_does_not_count() {
        let sample = b"a1,b,c\na2,b";
        let told = Told::default();
        assert_eq!(detect(sample, true, &told), None);
        assert_eq!(detect(sample, false, &told), Some(Delimiter::Comma));
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
    fn a_delimiter_can_be_told_as_a_character_or_as_tab() {
        for delimiter in Delimiter::ALL {
            assert_eq!(delimiter.as_str().parse(), Ok(delimiter));
        }
        assert_eq!("tab".parse(), Ok(Delimiter::Tab));
        assert_eq!("\\t".parse(), Ok(Delimiter::Tab));
        assert_eq!("\"".parse::<Delimiter>(), Err(UnknownDelimiter));
    }
}
