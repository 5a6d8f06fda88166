//! Decides from the first row of a CSV file whether it is a header and which columns hold the codes
//! and when they expire.
//!
//! Names are compared without case, accents and separators, so that `Código_de cupón` and
//! `codigodecupon` are one; a name that the caller tells is compared as written, without case.

use super::{
    Fault, Reason, attributes,
    code::{Cell, is_blank, printable},
};

/// The columns in which a code or its name is looked for, so that a row of any width costs the
/// same.
pub(super) const LOOKED_AT: usize = 1000;

/// What shops call the column, folded; where a file has several the earlier wins.
const NAMES: &str = "\
    couponcode couponcodes codecoupon vouchercode vouchercodes promocode promocodes \
    promotioncode promotioncodes discountcode discountcodes giftcode \
    codigodecupon codigocupon codigodelcupon codigodocupom codigodecupom codigocupom \
    codigodedescuento codigodescuento codigodedesconto codigopromocional codigopromo \
    codigosdecupon codigosdedescuento codigospromocionales \
    codepromo codespromo codepromotionnel codereduction codedereduction \
    gutscheincode gutscheincodes gutscheinnummer rabattcode rabattcodes aktionscode \
    codicesconto codicecoupon codicepromo codicepromozionale \
    kortingscode actiecode kodrabatowy kodpromocyjny rabattkod rabatkode \
    code codes codigo codigos codice codici codi kod \
    coupon coupons cupon cupones cupom cupons voucher vouchers gutschein gutscheine";

/// How the caller tells a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Named(String),
    /// From 1.
    Numbered(usize),
}

impl Column {
    /// Digits are a number; nothing but blanks tells nothing.
    pub(super) fn parse(told: &str) -> Option<Self> {
        let told = told.trim();
        if told.is_empty() {
            None
        } else if told.bytes().all(|byte| byte.is_ascii_digit()) {
            Some(Self::Numbered(told.parse().unwrap_or(usize::MAX)))
        } else {
            Some(Self::Named(told.to_owned()))
        }
    }
}

/// The columns that the caller tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) codes: Option<Column>,
    pub(super) expiries: Option<Column>,
    pub(super) others: Others,
}

/// The columns that are kept with a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Others {
    These(Vec<Column>),
    All,
}

impl Default for Others {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Others {
    /// Columns with commas between them; `*` is all that have no other use.
    pub(super) fn parse(told: &str) -> Self {
        if told.trim() == "*" {
            Self::All
        } else {
            Self::These(told.split(',').filter_map(Column::parse).collect())
        }
    }

    fn columns(&self) -> &[Column] {
        match self {
            Self::These(columns) => columns,
            Self::All => &[],
        }
    }
}

impl Told {
    fn columns(&self) -> impl Iterator<Item = &Column> {
        let columns = self.codes.iter().chain(&self.expiries);
        columns.chain(self.others.columns())
    }

    /// How many columns a row has at least.
    pub(super) fn width(&self) -> usize {
        let numbers = self.columns().map(|column| match column {
            Column::Named(_) => 1,
            Column::Numbered(number) => *number,
        });
        numbers.max().unwrap_or(1)
    }
}

/// What the first row says of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) header: bool,
    /// From 0.
    pub(super) code_column: usize,
    /// From 0, if any column says when codes expire.
    pub(super) expires_at_column: Option<usize>,
    /// From 0.
    pub(super) attribute_columns: Vec<usize>,
}

/// Reads the first row; `header` is what the caller tells of it.
pub(super) fn layout(
    first_row: &[Cell],
    header: Option<bool>,
    told: &Told,
) -> Result<Layout, Fault> {
    let cells = texts(first_row, header)?;
    let ranked = || {
        cells
            .iter()
            .enumerate()
            .filter_map(|(column, cell)| Some((rank(cell)?, column)))
    };
    let header = header.unwrap_or_else(|| {
        told.columns()
            .any(|column| matches!(column, Column::Named(_)))
            || ranked().next().is_some()
    });
    let find = |column: &Column| match column {
        Column::Numbered(number) => number
            .checked_sub(1)
            .filter(|column| *column < cells.len())
            .ok_or_else(|| no_such_column(number, &cells)),
        Column::Named(name) if !header => Err(Fault::NameWithoutHeader {
            wanted: printable(name),
        }),
        Column::Named(name) => cells
            .iter()
            .position(|cell| is_same_name(cell, name))
            .ok_or_else(|| no_such_column(name, &cells)),
    };
    let code_column = match &told.codes {
        Some(column) => find(column)?,
        None => match ranked().min().filter(|_| header) {
            Some((_, column)) => column,
            None if cells.len() == 1 => 0,
            None => {
                return Err(Fault::CodeColumnNeeded {
                    columns: printables(&cells),
                });
            }
        },
    };
    let expires_at_column = told.expiries.as_ref().map(find).transpose()?;
    if expires_at_column == Some(code_column) {
        return Err(Fault::OneColumnForBoth);
    }
    let used = |column: usize| column == code_column || Some(column) == expires_at_column;
    let attribute_columns: Vec<usize> = match &told.others {
        Others::All => (0..cells.len()).filter(|column| !used(*column)).collect(),
        Others::These(columns) => columns.iter().map(find).collect::<Result<_, _>>()?,
    };
    let twice = |(place, column): (usize, &usize)| {
        used(*column) || attribute_columns[..place].contains(column)
    };
    if let Some(place) = attribute_columns.iter().enumerate().position(twice) {
        let column = attribute_columns[place];
        return Err(Fault::AttributeTwice {
            column: printable(&cells[column]),
        });
    }
    if attribute_columns.len() > attributes::MOST {
        return Err(Fault::TooManyAttributes {
            columns: attribute_columns.len(),
        });
    }
    Ok(Layout {
        header,
        code_column,
        expires_at_column,
        attribute_columns,
    })
}

/// Whether a cell is a name of the code column.
pub(super) fn names_codes(cell: &str, told: &Told) -> bool {
    match &told.codes {
        Some(Column::Named(name)) => is_same_name(cell, name),
        _ => rank(cell).is_some(),
    }
}

/// The cells' texts. A first row that is not UTF-8 tells that nothing will be, unless the caller
/// says that it is a row like others.
fn texts(first_row: &[Cell], header: Option<bool>) -> Result<Vec<String>, Fault> {
    first_row
        .iter()
        .map(|cell| match cell.text() {
            Ok(text) => Ok(text.to_owned()),
            Err(rejection)
                if rejection.reason == Reason::InvalidEncoding && header != Some(false) =>
            {
                Err(Fault::UnreadableEncoding)
            }
            Err(rejection) => Ok(rejection.code),
        })
        .collect()
}

pub(super) fn rank(cell: &str) -> Option<usize> {
    // No name is longer, and most cells are no names.
    if cell.len() > 100 {
        return None;
    }
    let folded: String = cell
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(fold)
        .collect();
    NAMES
        .split_ascii_whitespace()
        .position(|name| name == folded)
}

/// A letter without its accent; separators and combining accents are nothing.
fn fold(c: char) -> Option<char> {
    match c {
        'à'..='å' => Some('a'),
        'ç' => Some('c'),
        'è'..='ë' => Some('e'),
        'ì'..='ï' => Some('i'),
        'ò'..='ö' => Some('o'),
        'ù'..='ü' => Some('u'),
        '_' | '-' | '\u{feff}' | '\u{300}'..='\u{36f}' => None,
        c if c.is_whitespace() => None,
        c => Some(c),
    }
}

fn is_same_name(cell: &str, name: &str) -> bool {
    cell.trim_matches(is_blank).to_lowercase() == name.trim().to_lowercase()
}

fn no_such_column(wanted: &impl ToString, cells: &[String]) -> Fault {
    Fault::NoSuchColumn {
        wanted: printable(&wanted.to_string()),
        columns: printables(cells),
    }
}

fn printables(cells: &[String]) -> Vec<String> {
    cells.iter().map(|cell| printable(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout_of(
        row: &[&str],
        header: Option<bool>,
        told: Option<&str>,
    ) -> Result<(bool, usize), Fault> {
        let cells: Vec<Cell> = row.iter().map(|text| Cell::of(text.as_bytes())).collect();
        let told = Told {
            codes: told.and_then(Column::parse),
            ..Told::default()
        };
        layout(&cells, header, &told).map(|layout| (layout.header, layout.code_column))
    }

    #[test]
    fn a_known_name_makes_a_header() {
        let names = [
            "code",
            "CODES",
            " Coupon ",
            "coupons",
            "Coupon Code",
            "coupon_code",
            "COUPONCODE",
            "Código",
            "codigo",
            "co\u{301}digo",
            "Cupón",
            "CUPÓN",
            "Código de cupón",
            "voucher",
            "Voucher-Code",
            "Promo code",
            "promocode",
            "Discount Code",
            "Gutschein",
            "Gutscheincode",
            "Code promo",
            "Codice",
            "Código promocional",
            "Code de réduction",
        ];
        for name in names {
            assert_eq!(
                layout_of(&["id", name], None, None),
                Ok((true, 1)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_first_row_without_a_known_name_is_a_row() {
        assert_eq!(layout_of(&["CODE-1"], None, None), Ok((false, 0)));
        assert_eq!(layout_of(&["SAVE10"], None, None), Ok((false, 0)));
    }

    #[test]
    fn of_several_known_names_the_most_telling_wins() {
        assert_eq!(layout_of(&["Voucher", "Code"], None, None), Ok((true, 1)));
        assert_eq!(
            layout_of(&["Code", "Coupon code"], None, None),
            Ok((true, 1))
        );
    }

    #[test]
    fn the_caller_can_tell_that_the_first_row_is_or_is_no_header() {
        assert_eq!(layout_of(&["My list"], Some(true), None), Ok((true, 0)));
        assert_eq!(layout_of(&["code"], Some(false), None), Ok((false, 0)));
    }

    #[test]
    fn a_named_column_makes_a_header_whatever_its_case() {
        assert_eq!(
            layout_of(&["id", " My KEY "], None, Some("my key ")),
            Ok((true, 1))
        );
        assert_eq!(
            layout_of(&["code", "ÄPFEL"], None, Some("äpfel")),
            Ok((true, 1))
        );
    }

    #[test]
    fn a_number_from_1_tells_the_column_and_leaves_the_header_to_the_names() {
        assert_eq!(layout_of(&["a", "b"], None, Some("2")), Ok((false, 1)));
        assert_eq!(layout_of(&["code", "b"], None, Some("2")), Ok((true, 1)));
        assert_eq!(layout_of(&["a", "b"], Some(true), Some("1")), Ok((true, 0)));
    }

    #[test]
    fn a_column_that_is_not_there_is_a_fault_which_lists_those_that_are() {
        for wanted in ["0", "3", "99999999999999999999999", "key"] {
            let fault = layout_of(&["a", "b\0"], None, Some(wanted)).expect_err(wanted);
            let Fault::NoSuchColumn {
                wanted: told,
                columns,
            } = fault
            else {
                panic!("{fault}")
            };
            assert_eq!(columns, ["a", "b\u{fffd}"]);
            assert!(told == wanted || told == usize::MAX.to_string());
        }
    }

    #[test]
    fn a_name_contradicts_a_file_without_a_header() {
        let fault = layout_of(&["a", "key"], Some(false), Some("key"));
        assert_eq!(
            fault,
            Err(Fault::NameWithoutHeader {
                wanted: "key".to_owned()
            })
        );
    }

    #[test]
    fn the_column_of_the_expiries_is_told_as_the_code_column_is() {
        let layout_of = |row: &[&str], codes, expiries| {
            let cells: Vec<Cell> = row.iter().map(|text| Cell::of(text.as_bytes())).collect();
            let told = Told {
                codes: Column::parse(codes),
                expiries: Column::parse(expiries),
                ..Told::default()
            };
            layout(&cells, None, &told)
                .map(|layout| (layout.header, layout.code_column, layout.expires_at_column))
        };
        let named = layout_of(&["until", "code"], "", " Until");
        assert_eq!(named, Ok((true, 1, Some(0))));
        let makes_a_header = layout_of(&["a", "until"], "1", "until");
        assert_eq!(makes_a_header, Ok((true, 0, Some(1))));
        let numbered = layout_of(&["A", "2026-12-31"], "1", "2");
        assert_eq!(numbered, Ok((false, 0, Some(1))));
        assert_eq!(layout_of(&["A", "x"], "1", ""), Ok((false, 0, None)));
        assert!(matches!(
            layout_of(&["code", "x"], "", "3"),
            Err(Fault::NoSuchColumn { .. })
        ));
        assert_eq!(
            layout_of(&["code", "x"], "", "1"),
            Err(Fault::OneColumnForBoth)
        );
    }

    #[test]
    fn several_columns_without_a_known_name_need_to_be_told() {
        let fault = layout_of(&["A1", "x"], None, None).expect_err("several columns");
        assert_eq!(
            fault.to_string(),
            "the column with the codes is not known; pass codeColumn as a name or as a number from 1; \
             the first row has \"A1\", \"x\""
        );
        assert!(layout_of(&["a", "b"], Some(true), None).is_err());
        assert!(layout_of(&["code", "b"], Some(false), None).is_err());
    }

    #[test]
    fn a_message_names_twenty_columns_at_most() {
        let row: Vec<String> = (1..=22).map(|n| format!("c{n}")).collect();
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        let fault = layout_of(&row, None, None)
            .expect_err("several columns")
            .to_string();
        assert!(fault.ends_with(r#""c19", "c20" and 2 more"#), "{fault}");
    }

    #[test]
    fn a_first_row_that_is_not_utf_8_is_a_fault_unless_it_is_told_to_be_a_row() {
        let cells = [Cell::of(b"c\xf3digo")];
        let layout = |header| layout(&cells, header, &Told::default());
        assert_eq!(layout(None), Err(Fault::UnreadableEncoding));
        assert_eq!(layout(Some(true)), Err(Fault::UnreadableEncoding));
        assert!(layout(Some(false)).is_ok());
    }
}
