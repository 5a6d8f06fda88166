//! Workbooks of Excel 97 to 2003 (XLS).

use std::io::{Cursor, Write};

use cfb::CompoundFile;

use super::{
    super::*,
    files::{deliver, fault},
};

const LIBRE_OFFICE: &[u8] = include_bytes!("data/libreoffice.xls");
const XLWT: &[u8] = include_bytes!("data/xlwt.xls");

/// Records, of which each has a type and data.
#[derive(Clone, Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(mut self, kind: u16, data: &[u8]) -> Self {
        let length = u16::try_from(data.len()).expect("a short record");
        self.0.extend(kind.to_le_bytes());
        self.0.extend(length.to_le_bytes());
        self.0.extend(data);
        self
    }

    /// Adds a cell with a value after its row, column and format.
    fn cell(self, kind: u16, row: u16, column: u16, value: &[u8]) -> Self {
        let place = [row.to_le_bytes(), column.to_le_bytes(), [0, 0]].concat();
        self.add(kind, &[&place, value].concat())
    }

    fn number(self, row: u16, number: f64) -> Self {
        self.cell(0x0203, row, 0, &number.to_le_bytes())
    }

    /// Adds a row with its flags, of which 0x20 means hidden.
    fn row(self, row: u16, flags: u16) -> Self {
        let mut data = [0; 16];
        data[..2].copy_from_slice(&row.to_le_bytes());
        data[12..14].copy_from_slice(&flags.to_le_bytes());
        self.add(0x0208, &data)
    }
}

fn compound(stream: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = CompoundFile::create(Cursor::new(Vec::new())).expect("memory");
    let mut written = file.create_stream(stream).expect("a name");
    written.write_all(bytes).expect("memory");
    drop(written);
    file.flush().expect("memory");
    file.into_inner().into_inner()
}

/// A workbook of one sheet; `globals` are records before those of the sheet.
fn workbook(globals: Records, sheet: Records) -> Vec<u8> {
    let head = Records::default().add(0x0809, &[0, 6, 5, 0]);
    let mut name = vec![0; 4];
    name.extend([0, 0, 1, 0, b'A']);
    let tail = Records::default().add(0x0085, &name).add(0x000a, &[]);
    let mut bytes = [head.0, globals.0, tail.0].concat();
    let offset = u32::try_from(bytes.len()).expect("a small file");
    // The position of the sheet is the first field of its record, which is the last but one.
    let place = bytes.len() - 4 - name.len();
    bytes[place..place + 4].copy_from_slice(&offset.to_le_bytes());
    bytes.extend(Records::default().add(0x0809, &[0, 6, 16, 0]).0);
    bytes.extend(sheet.0);
    bytes.extend(Records::default().add(0x000a, &[]).0);
    compound("/Workbook", &bytes)
}

/// Reads the first column of a sheet.
fn rows(globals: Records, sheet: Records) -> Result<Vec<super::Short>, DeliveryFault> {
    let options = TableOptions {
        header: Some(false),
        code_column: Some("1".to_owned()),
        ..TableOptions::default()
    };
    match deliver(&workbook(globals, sheet), &options) {
        Ok((_, rows)) => Ok(rows),
        other => Err(fault(other)),
    }
}

#[test]
fn files_of_two_programs_are_read_as_they_are_shown() {
    for file in [LIBRE_OFFICE, XLWT] {
        let options = TableOptions {
            expires_at_column: Some("Valid until".to_owned()),
            ..TableOptions::default()
        };
        let (layout, rows) = deliver(file, &options).expect("a workbook");
        assert_eq!(layout.sheet.as_deref(), Some("Codes"));
        let read: Vec<_> = rows
            .iter()
            .map(|(line, code)| (*line, code.as_deref()))
            .collect();
        assert_eq!(
            read[..8],
            [
                (2, Ok("AB-0001")),
                (3, Ok("00042")),
                (4, Ok("GC-0007")),
                (5, Ok("1234567")),
                (6, Ok("1234567890123")),
                (7, Ok("ÑANDÚ €")),
                (8, Ok("TRUE")),
                (9, Ok("12.5")),
            ]
        );
        // Neither program stored the result of the formula in row 10, and row 11 is hidden.
        assert_eq!(read[9..], [(12, Ok("X 9"))]);
        let [warning] = &layout.warnings[..] else {
            panic!("{:?}", layout.warnings);
        };
        assert_eq!((warning.kind, warning.count), ("hiddenRows", Some(1)));
        let second = TableOptions {
            sheet: Some("Second".to_owned()),
            ..TableOptions::default()
        };
        let (_, rows) = deliver(file, &second).expect("a workbook");
        assert_eq!(rows, [(1, Ok("S-1".to_owned())), (3, Ok("S-3".to_owned()))]);
    }
}

#[test]
fn cells_are_read_as_shown() {
    let rk = |bits: u32| Records::default().cell(0x027e, 0, 0, &bits.to_le_bytes());
    let formula = |result: [u8; 8]| Records::default().cell(0x0006, 0, 0, &result);
    for (sheet, shown) in [
        (rk(42 << 2 | 2), "42"),
        (rk(1250 << 2 | 3), "12.5"),
        (rk(0x4045_0000), "42"),
        (
            Records::default().number(0, 1_234_567_890_123.0),
            "1234567890123",
        ),
        (Records::default().cell(0x0205, 0, 0, &[1, 0]), "TRUE"),
        (Records::default().cell(0x0204, 0, 0, b"\x02\0\0A1"), "A1"),
        (
            Records::default().cell(0x0204, 0, 0, b"\x01\0\x01\xac\x20"),
            "€",
        ),
        // Rich text: one run of formatting follows.
        (
            Records::default().cell(0x00d6, 0, 0, b"\x02\0\x08\x01\0B2\0\0\0\0"),
            "B2",
        ),
        (formula(42f64.to_le_bytes()), "42"),
        (formula([1, 0, 1, 0, 0, 0, 0xff, 0xff]), "TRUE"),
        (
            formula([0, 0, 0, 0, 0, 0, 0xff, 0xff])
                .add(0x04bc, &[])
                .add(0x0207, b"\x03\0\0F-1"),
            "F-1",
        ),
        // A chart in the sheet has cells of its own.
        (
            Records::default()
                .add(0x0809, &[0, 6, 32, 0])
                .number(0, 7.0)
                .add(0x000a, &[])
                .number(0, 8.0),
            "8",
        ),
    ] {
        let read = rows(Records::default(), sheet.clone()).expect("a sheet");
        assert_eq!(read, [(1, Ok(shown.to_owned()))], "{:?}", sheet.0);
    }
    let error = Records::default().cell(0x0205, 0, 0, &[42, 1]);
    assert_eq!(
        rows(Records::default(), error),
        Ok(vec![(1, Err(RejectionReason::Empty))])
    );
}

#[test]
fn numbers_of_one_record_are_cells_of_one_row() {
    let mut data = vec![4, 0, 0, 0];
    for number in [7_u32, 8] {
        data.extend([0, 0]);
        data.extend((number << 2 | 2).to_le_bytes());
    }
    data.extend([1, 0]);
    let options = TableOptions {
        header: Some(false),
        code_column: Some("2".to_owned()),
        ..TableOptions::default()
    };
    let sheet = Records::default().add(0x00bd, &data);
    let (_, rows) = deliver(&workbook(Records::default(), sheet), &options).expect("a sheet");
    assert_eq!(rows, [(5, Ok("8".to_owned()))]);
}

#[test]
fn a_string_may_go_on_in_another_record_and_change_its_width() {
    // Two strings, `AB-12` and `€3`; the first is cut after `AB`, the second between its characters.
    let strings = Records::default()
        .add(0x00fc, b"\x02\0\0\0\x02\0\0\0\x05\0\0AB")
        .add(0x003c, b"\x01-\x001\x002\0\x02\0\x01\xac\x20")
        .add(0x003c, b"\x003");
    let sheet = Records::default()
        .cell(0x00fd, 0, 0, &[0; 4])
        .cell(0x00fd, 1, 0, &[1, 0, 0, 0]);
    assert_eq!(
        rows(strings, sheet),
        Ok(vec![(1, Ok("AB-12".to_owned())), (2, Ok("€3".to_owned()))])
    );
}

#[test]
fn hidden_and_blank_rows_are_skipped() {
    let sheet = Records::default()
        .row(0, 0)
        .row(1, 0x20)
        .row(2, 0x20)
        .number(0, 1.0)
        .number(1, 2.0)
        .cell(0x0201, 2, 0, &[])
        .cell(0x0204, 3, 0, b"\x01\0\0 ")
        .number(4, 5.0);
    let bytes = workbook(Records::default(), sheet);
    let (layout, rows) = deliver(&bytes, &TableOptions::default()).expect("a sheet");
    assert_eq!(rows, [(1, Ok("1".to_owned())), (5, Ok("5".to_owned()))]);
    assert_eq!(layout.warnings[0].count, Some(1));
}

#[test]
fn what_cannot_be_read_is_named() {
    let password = Records::default().add(0x002f, &[0; 6]);
    assert_eq!(
        rows(password, Records::default().number(0, 1.0)),
        Err(DeliveryFault::PasswordProtected)
    );
    let unordered = Records::default().number(1, 1.0).number(0, 2.0);
    assert_eq!(
        rows(Records::default(), unordered),
        Err(DeliveryFault::UnorderedRows)
    );
    for (stream, expected) in [
        ("/EncryptedPackage", DeliveryFault::PasswordProtected),
        ("/Book", DeliveryFault::OldWorkbook),
        (
            "/WordDocument",
            DeliveryFault::OtherFormat {
                name: "an Office document, but not a workbook",
            },
        ),
    ] {
        let file = compound(stream, b"\x09\x08\x04\0\0\x05\x05\0");
        assert_eq!(fault(deliver(&file, &TableOptions::default())), expected);
    }
    let old = compound("/Workbook", b"\x09\x08\x04\0\0\x05\x05\0");
    assert_eq!(
        fault(deliver(&old, &TableOptions::default())),
        DeliveryFault::OldWorkbook
    );
}

#[test]
fn a_workbook_may_end_after_a_formula_whose_text_is_missing() {
    let formula = Records::default().cell(0x0006, 0, 0, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let head = Records::default().add(0x0809, &[0, 6, 5, 0]);
    let sheet = head.add(0x0085, b"\x19\0\0\0\0\0\x01\0A").add(0x000a, &[]);
    let options = TableOptions {
        header: Some(false),
        ..TableOptions::default()
    };
    let bytes = compound("/Workbook", &[sheet.0, formula.0].concat());
    assert_eq!(fault(deliver(&bytes, &options)), DeliveryFault::Empty);
}

#[test]
fn a_damaged_workbook_is_a_fault() {
    let damaged = DeliveryFault::Damaged { what: "workbook" };
    for sheet in [
        // A string that does not exist, a cell without a value, and a text that ends early.
        Records::default().cell(0x00fd, 0, 0, &[9, 0, 0, 0]),
        Records::default().cell(0x0203, 0, 0, &[0; 4]),
        Records::default().cell(0x0204, 0, 0, b"\xff\0\0A"),
    ] {
        assert_eq!(rows(Records::default(), sheet), Err(damaged.clone()));
    }
    let strings = Records::default().add(0x00fc, b"\0\0\0\0\xff\xff\xff\xff\x01\0\0A");
    assert_eq!(
        rows(strings, Records::default().number(0, 1.0)),
        Err(damaged.clone())
    );
    let whole = XLWT;
    for end in [9, 512, 600, 2048, whole.len() - 512] {
        let read = fault(deliver(&whole[..end], &TableOptions::default()));
        assert_eq!(read, damaged, "{end}");
    }
}
