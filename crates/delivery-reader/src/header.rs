//! Decides from the first row of a table whether it is a header, and which columns hold codes, expiries and attributes.
//!
//! Known names are compared without case, accents and separators, so that `Código_de-CLIENTE` is equal to
//! `codigodecliente`; a name in an option is compared without case only.

use crate::{
    DeliveryFault, RejectionReason, attributes,
    code::{Cell, is_blank, printable},
};

/// Most columns of the first row that are read, so that a row of any width takes the same memory.
pub(crate) const MAX_COLUMNS: usize = 1000;

/// Names of the code column that are known without options.
pub(crate) const DEFAULT_CODE_NAMES: &[&str] = &["code", "codes"];

/// A reference to a column in an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ColumnRef {
    Named(String),
    /// From 1.
    Numbered(usize),
}

impl ColumnRef {
    /// Parses a name, or a number if all characters are digits; returns `None` for a blank text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            None
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Some(Self::Numbered(text.parse().unwrap_or(usize::MAX)))
        } else {
            Some(Self::Named(text.to_owned()))
        }
    }
}

/// The columns that options select.
#[derive(Clone, Debug)]
pub(crate) struct ColumnSelection {
    pub(crate) codes: Option<ColumnRef>,
    pub(crate) expiries: Option<ColumnRef>,
    pub(crate) attributes: AttributeColumns,
    /// Known names of the code column, folded, in order of preference.
    pub(crate) code_names: &'static [&'static str],
}

impl Default for ColumnSelection {
    fn default() -> Self {
        Self {
            codes: None,
            expiries: None,
            attributes: AttributeColumns::default(),
            code_names: DEFAULT_CODE_NAMES,
        }
    }
}

/// The columns that are read as attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttributeColumns {
    Listed(Vec<ColumnRef>),
    All,
}

impl Default for AttributeColumns {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl AttributeColumns {
    /// Parses columns with commas between them; `*` means all columns without another use.
    pub(crate) fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            Self::All
        } else {
            Self::Listed(text.split(',').filter_map(ColumnRef::parse).collect())
        }
    }

    fn columns(&self) -> &[ColumnRef] {
        match self {
            Self::Listed(columns) => columns,
            Self::All => &[],
        }
    }
}

impl ColumnSelection {
    fn columns(&self) -> impl Iterator<Item = &ColumnRef> {
        let columns = self.codes.iter().chain(&self.expiries);
        columns.chain(self.attributes.columns())
    }

    /// The least number of columns of a row with the selected columns.
    pub(crate) fn width(&self) -> usize {
        let numbers = self.columns().map(|column| match column {
            ColumnRef::Named(_) => 1,
            ColumnRef::Numbered(number) => *number,
        });
        numbers.max().unwrap_or(1)
    }
}

/// Columns by their use, from the first row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ColumnLayout {
    pub(crate) header: bool,
    /// From 0.
    pub(crate) code_column: usize,
    /// From 0, if there is an expiry column.
    pub(crate) expires_at_column: Option<usize>,
    /// From 0.
    pub(crate) attribute_columns: Vec<usize>,
}

/// Reads the first row; `header` is the caller's option.
pub(crate) fn layout(
    first_row: &[Cell],
    header: Option<bool>,
    selection: &ColumnSelection,
) -> Result<ColumnLayout, DeliveryFault> {
    let cells = texts(first_row, header)?;
    let ranked = || {
        cells.iter().enumerate().filter_map(|(column, cell)| {
            Some((code_name_rank(cell, selection.code_names)?, column))
        })
    };
    let header = header.unwrap_or_else(|| {
        selection
            .columns()
            .any(|column| matches!(column, ColumnRef::Named(_)))
            || ranked().next().is_some()
    });
    let find = |column: &ColumnRef| match column {
        ColumnRef::Numbered(number) => number
            .checked_sub(1)
            .filter(|column| *column < cells.len())
            .ok_or_else(|| no_such_column(number, &cells)),
        ColumnRef::Named(name) if !header => Err(DeliveryFault::NameWithoutHeader {
            wanted: printable(name),
        }),
        ColumnRef::Named(name) => cells
            .iter()
            .position(|cell| is_same_name(cell, name))
            .ok_or_else(|| no_such_column(name, &cells)),
    };
    let best = ranked().min();
    // Two columns with the same name: only the caller knows which is meant.
    let is_unique = best.is_none_or(|(rank, _)| ranked().filter(|(r, _)| *r == rank).count() == 1);
    let code_column = match &selection.codes {
        Some(column) => find(column)?,
        None => match best.filter(|_| header && is_unique) {
            Some((_, column)) => column,
            None if cells.len() == 1 => 0,
            None => {
                return Err(DeliveryFault::CodeColumnNeeded {
                    columns: printables(&cells),
                });
            }
        },
    };
    let expires_at_column = selection.expiries.as_ref().map(find).transpose()?;
    if expires_at_column == Some(code_column) {
        return Err(DeliveryFault::OneColumnForBoth);
    }
    let used = |column: usize| column == code_column || Some(column) == expires_at_column;
    let attribute_columns: Vec<usize> = match &selection.attributes {
        AttributeColumns::All => (0..cells.len()).filter(|column| !used(*column)).collect(),
        AttributeColumns::Listed(columns) => columns.iter().map(find).collect::<Result<_, _>>()?,
    };
    let twice = |(place, column): (usize, &usize)| {
        used(*column) || attribute_columns[..place].contains(column)
    };
    if let Some(place) = attribute_columns.iter().enumerate().position(twice) {
        let column = attribute_columns[place];
        return Err(DeliveryFault::AttributeTwice {
            column: printable(&cells[column]),
        });
    }
    if attribute_columns.len() > attributes::MAX_ATTRIBUTES {
        return Err(DeliveryFault::TooManyAttributes {
            columns: attribute_columns.len(),
        });
    }
    Ok(ColumnLayout {
        header,
        code_column,
        expires_at_column,
        attribute_columns,
    })
}

/// Maximum number of rows after the first that are searched for the header.
pub(crate) const MAX_TITLE_ROWS: usize = 5;

/// Fails if a row after the first is the header, as below a title: the rows above it would be imported as codes.
pub(crate) fn check_below_first(
    line: u32,
    row: &[Cell],
    selection: &ColumnSelection,
) -> Result<(), DeliveryFault> {
    let names = row.iter().filter_map(|cell| cell.text().ok());
    let mut ranks = names.filter_map(|cell| code_name_rank(cell, selection.code_names));
    match ranks.next() {
        Some(_) => Err(DeliveryFault::HeaderBelowFirst { line }),
        None => Ok(()),
    }
}

/// Returns true if a cell is a name of the code column.
pub(crate) fn is_code_name(cell: &str, selection: &ColumnSelection) -> bool {
    match &selection.codes {
        Some(ColumnRef::Named(name)) => is_same_name(cell, name),
        _ => code_name_rank(cell, selection.code_names).is_some(),
    }
}

/// Texts of the cells. A first row that is not UTF-8 means that the encoding is wrong, unless an option says that it is not
/// a header.
fn texts(first_row: &[Cell], header: Option<bool>) -> Result<Vec<String>, DeliveryFault> {
    first_row
        .iter()
        .map(|cell| match cell.text() {
            Ok(text) => Ok(text.to_owned()),
            Err(rejection)
                if rejection.reason == RejectionReason::InvalidEncoding
                    && header != Some(false) =>
            {
                Err(DeliveryFault::UnreadableEncoding)
            }
            Err(rejection) => Ok(rejection.code),
        })
        .collect()
}

/// The place of a cell in the known names of the code column.
pub(crate) fn code_name_rank(cell: &str, code_names: &[&str]) -> Option<usize> {
    // No name is longer. Most cells are not names.
    if cell.len() > 100 {
        return None;
    }
    let folded: String = cell
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(fold)
        .collect();
    code_names.iter().position(|name| *name == folded)
}

/// Returns the letter without its accent; `None` for separators and combining accents.
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

fn no_such_column(wanted: &impl ToString, cells: &[String]) -> DeliveryFault {
    DeliveryFault::NoSuchColumn {
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
        code_column: Option<&str>,
    ) -> Result<(bool, usize), DeliveryFault> {
        let cells: Vec<Cell> = row.iter().map(|text| Cell::of(text.as_bytes())).collect();
        let selection = ColumnSelection {
            codes: code_column.and_then(ColumnRef::parse),
            ..ColumnSelection::default()
        };
        layout(&cells, header, &selection).map(|layout| (layout.header, layout.code_column))
    }

    #[test]
    fn a_known_name_makes_a_header() {
        let code_names = &["codigodecliente", "code"];
        for name in [
            " Code ",
            "CODE",
            "co\u{300}de",
            "Código de cliente",
            "CÓDIGO_DE-CLIENTE",
            "codigodecliente",
        ] {
            let cells = [Cell::of(b"id"), Cell::of(name.as_bytes())];
            let selection = ColumnSelection {
                code_names,
                ..ColumnSelection::default()
            };
            let layout = layout(&cells, None, &selection).expect(name);
            assert_eq!((layout.header, layout.code_column), (true, 1), "{name}");
        }
    }

    #[test]
    fn a_first_row_without_a_known_name_is_a_row() {
        assert_eq!(layout_of(&["CODE-1"], None, None), Ok((false, 0)));
        assert_eq!(layout_of(&["AB10"], None, None), Ok((false, 0)));
    }

    #[test]
    fn of_several_known_names_the_first_in_the_list_wins() {
        assert_eq!(layout_of(&["Codes", "Code"], None, None), Ok((true, 1)));
        assert_eq!(layout_of(&["Code", "Codes"], None, None), Ok((true, 0)));
    }

    #[test]
    fn an_option_decides_if_the_first_row_is_a_header() {
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
    fn a_number_from_1_selects_the_column_and_leaves_the_header_to_the_names() {
        assert_eq!(layout_of(&["a", "b"], None, Some("2")), Ok((false, 1)));
        assert_eq!(layout_of(&["code", "b"], None, Some("2")), Ok((true, 1)));
        assert_eq!(layout_of(&["a", "b"], Some(true), Some("1")), Ok((true, 0)));
    }

    #[test]
    fn a_column_that_is_not_there_is_a_fault_which_lists_those_that_are() {
        for wanted in ["0", "3", "99999999999999999999999", "key"] {
            let fault = layout_of(&["a", "b\0"], None, Some(wanted)).expect_err(wanted);
            let DeliveryFault::NoSuchColumn {
                wanted: named,
                columns,
            } = fault
            else {
                panic!("{fault}")
            };
            assert_eq!(columns, ["a", "b\u{fffd}"]);
            assert!(named == wanted || named == usize::MAX.to_string());
        }
    }

    #[test]
    fn a_name_contradicts_a_file_without_a_header() {
        let fault = layout_of(&["a", "key"], Some(false), Some("key"));
        assert_eq!(
            fault,
            Err(DeliveryFault::NameWithoutHeader {
                wanted: "key".to_owned()
            })
        );
    }

    #[test]
    fn the_expiry_column_is_selected_like_the_code_column() {
        let layout_of = |row: &[&str], codes, expiries| {
            let cells: Vec<Cell> = row.iter().map(|text| Cell::of(text.as_bytes())).collect();
            let selection = ColumnSelection {
                codes: ColumnRef::parse(codes),
                expiries: ColumnRef::parse(expiries),
                ..ColumnSelection::default()
            };
            layout(&cells, None, &selection)
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
            Err(DeliveryFault::NoSuchColumn { .. })
        ));
        assert_eq!(
            layout_of(&["code", "x"], "", "1"),
            Err(DeliveryFault::OneColumnForBoth)
        );
    }

    #[test]
    fn several_columns_without_a_known_name_need_an_option() {
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
    fn a_message_about_a_table_of_as_many_columns_as_are_read_states_the_limit() {
        let limit = "; a table can have at most 1000 columns, and any further ones are ignored";
        for (columns, is_stated) in [(MAX_COLUMNS - 1, false), (MAX_COLUMNS, true)] {
            let row: Vec<String> = (1..=columns).map(|n| format!("c{n}")).collect();
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            for wanted in [Some("1001"), Some("c1001"), None] {
                let fault = layout_of(&row, None, wanted).expect_err("no such column");
                assert_eq!(fault.to_string().ends_with(limit), is_stated, "{fault}");
            }
        }
    }

    #[test]
    fn a_first_row_that_is_not_utf_8_is_a_fault_unless_an_option_says_that_it_is_a_row() {
        let cells = [Cell::of(b"c\xf3digo")];
        let layout = |header| layout(&cells, header, &ColumnSelection::default());
        assert_eq!(layout(None), Err(DeliveryFault::UnreadableEncoding));
        assert_eq!(layout(Some(true)), Err(DeliveryFault::UnreadableEncoding));
        assert!(layout(Some(false)).is_ok());
    }
}
