//! Reads a workbook of Excel 97 to 2003 (XLS): a compound file with a stream of records.
//!
//! The strings of all sheets are held in memory; the rows of the sheet are streamed.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufReader, Seek, SeekFrom},
    sync::Arc,
};

use cfb::{CompoundFile, Stream};

use super::{
    DAMAGED, MAX_CELL_FORMATS, MAX_COLUMNS, SharedStrings, Sheet, add_sheet,
    biff::{RecordReader, damaged},
    record,
};
use crate::{
    DeliveryFault, ReadError,
    numbers::NumberFormat,
    table::{Record, Records},
};

/// Types of records ([MS-XLS] 2.3.1).
mod kind {
    pub(super) const FORMULA: u16 = 0x0006;
    pub(super) const EOF: u16 = 0x000a;
    pub(super) const DATE_MODE: u16 = 0x0022;
    pub(super) const FILE_PASS: u16 = 0x002f;
    pub(super) const BOUND_SHEET: u16 = 0x0085;
    pub(super) const MUL_RK: u16 = 0x00bd;
    pub(super) const RICH_STRING: u16 = 0x00d6;
    pub(super) const XF: u16 = 0x00e0;
    pub(super) const SST: u16 = 0x00fc;
    pub(super) const LABEL_SST: u16 = 0x00fd;
    pub(super) const NUMBER: u16 = 0x0203;
    pub(super) const LABEL: u16 = 0x0204;
    pub(super) const BOOL_ERR: u16 = 0x0205;
    pub(super) const STRING: u16 = 0x0207;
    pub(super) const ROW: u16 = 0x0208;
    pub(super) const ARRAY: u16 = 0x0221;
    pub(super) const TABLE: u16 = 0x0236;
    pub(super) const RK: u16 = 0x027e;
    pub(super) const FORMAT: u16 = 0x041e;
    pub(super) const SHARED_FORMULA: u16 = 0x04bc;
    pub(super) const BOF: u16 = 0x0809;
}

/// The version in the first record since Excel 97.
const BIFF8: u16 = 0x0600;

type Input = BufReader<Stream<File>>;

/// A workbook and what its cells refer to.
pub(super) struct Xls {
    file: CompoundFile<File>,
    /// The positions of the sheets in the stream.
    offsets: Vec<u64>,
    strings: SharedStrings,
    /// Formats of cells, by their index in the cell.
    formats: Vec<NumberFormat>,
    from_1904: bool,
}

impl Xls {
    /// Opens a workbook without a password.
    pub(super) fn open(file: &Arc<File>) -> io::Result<(Self, Vec<Sheet>)> {
        let file = CompoundFile::open(file.try_clone()?).map_err(damaged)?;
        if file.is_stream("/EncryptedPackage") {
            return Err(DeliveryFault::PasswordProtected.into());
        }
        if !file.is_stream("/Workbook") {
            return Err(if file.is_stream("/Book") {
                DeliveryFault::OldWorkbook.into()
            } else {
                let name = "an Office document, but not a workbook";
                DeliveryFault::OtherFormat { name }.into()
            });
        }
        let mut workbook = Self {
            file,
            offsets: Vec::new(),
            strings: SharedStrings::default(),
            formats: Vec::new(),
            from_1904: false,
        };
        let sheets = workbook.read_globals()?;
        Ok((workbook, sheets))
    }

    /// Reads the rows of a sheet, from the first.
    pub(super) fn rows(&mut self, sheet: usize) -> io::Result<XlsRows<'_>> {
        let records = self.records(self.offsets[sheet])?;
        Ok(XlsRows {
            workbook: self,
            records,
            depth: 0,
            row: None,
            hidden_rows: HashSet::new(),
            hidden: 0,
            value: String::new(),
        })
    }

    fn records(&mut self, offset: u64) -> io::Result<RecordReader<Input>> {
        let mut stream = self.file.open_stream("/Workbook").map_err(damaged)?;
        stream.seek(SeekFrom::Start(offset)).map_err(damaged)?;
        Ok(RecordReader::new(BufReader::new(stream)))
    }

    /// Formats a number as the cell shows it.
    fn show(&self, number: f64, format: u16) -> String {
        let format = self.formats.get(usize::from(format));
        let format = format.unwrap_or(&NumberFormat::General);
        format.show(number, self.from_1904)
    }

    /// Reads the records before those of the sheets.
    fn read_globals(&mut self) -> io::Result<Vec<Sheet>> {
        let mut sheets = Vec::new();
        let mut custom = HashMap::new();
        let mut records = self.records(0)?;
        if records.next()? != Some(kind::BOF) {
            return Err(DAMAGED.into());
        }
        if records.fields(0).u16()? != BIFF8 {
            return Err(DeliveryFault::OldWorkbook.into());
        }
        let mut text = String::new();
        while let Some(kind) = records.next()? {
            let mut fields = records.fields(0);
            match kind {
                kind::EOF => break,
                kind::FILE_PASS => return Err(DeliveryFault::PasswordProtected.into()),
                kind::DATE_MODE => self.from_1904 = fields.u16()? == 1,
                kind::BOUND_SHEET => {
                    let offset = fields.u32()?;
                    let (state, kind) = (fields.u8()?, fields.u8()?);
                    let length = fields.u8()?;
                    fields.string_of(usize::from(length), &mut text)?;
                    // Other kinds are charts and macros.
                    if kind == 0 {
                        self.offsets.push(u64::from(offset));
                        add_sheet(&mut sheets, text.clone(), state & 3 != 0)?;
                    }
                }
                kind::FORMAT => {
                    let id = fields.u16()?;
                    fields.string(&mut text)?;
                    custom.insert(id, NumberFormat::parse(&text));
                }
                kind::XF => {
                    let _font = fields.u16()?;
                    let id = fields.u16()?;
                    if self.formats.len() == MAX_CELL_FORMATS {
                        return Err(DAMAGED.into());
                    }
                    let format = custom.get(&id).cloned();
                    let format = format.unwrap_or_else(|| NumberFormat::built_in(&id.to_string()));
                    self.formats.push(format);
                }
                kind::SST => {
                    let _references = fields.u32()?;
                    for _ in 0..fields.u32()? {
                        fields.string(&mut text)?;
                        self.strings.push(&text)?;
                    }
                }
                _ => {}
            }
        }
        Ok(sheets)
    }
}

/// Iterates over the rows of a sheet.
pub(crate) struct XlsRows<'w> {
    workbook: &'w Xls,
    records: RecordReader<Input>,
    /// The number of parts that are open: the sheet, and a chart in it.
    depth: u32,
    /// The row that was read last, from 0.
    row: Option<u16>,
    hidden_rows: HashSet<u16>,
    pub(super) hidden: usize,
    value: String,
}

/// Value of a cell.
enum CellValue {
    Number(f64),
    /// The text is in `value`.
    Text,
    /// The text is in the record `STRING` that follows.
    TextFollows,
    /// The error of a formula, which reads as blank.
    Error,
}

impl XlsRows<'_> {
    /// Advances to the next record with cells. Returns its type, or `None` at the end of the sheet.
    fn enter_cells(&mut self) -> io::Result<Option<u16>> {
        while let Some(kind) = self.records.next()? {
            match kind {
                kind::BOF => self.depth += 1,
                kind::EOF if self.depth <= 1 => {
                    self.records.hold();
                    return Ok(None);
                }
                kind::EOF => self.depth -= 1,
                _ if self.depth > 1 => {}
                kind::ROW => {
                    let mut fields = self.records.fields(0);
                    let row = fields.u16()?;
                    if self.records.fields(12).u16()? & 0x20 != 0 {
                        self.hidden_rows.insert(row);
                    }
                }
                kind::FORMULA
                | kind::MUL_RK
                | kind::RICH_STRING
                | kind::LABEL_SST
                | kind::NUMBER
                | kind::LABEL
                | kind::BOOL_ERR
                | kind::RK => return Ok(Some(kind)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Reads the value of a cell, from the field after its format.
    fn read_value(&mut self, kind: u16) -> io::Result<CellValue> {
        let mut fields = self.records.fields(6);
        Ok(match kind {
            kind::RK => CellValue::Number(rk(fields.u32()?)),
            kind::NUMBER => CellValue::Number(fields.f64()?),
            kind::LABEL_SST => {
                let index = fields.u32()? as usize;
                let text = self.workbook.strings.get(index).ok_or(DAMAGED)?;
                text.clone_into(&mut self.value);
                CellValue::Text
            }
            kind::LABEL | kind::RICH_STRING => {
                fields.string(&mut self.value)?;
                CellValue::Text
            }
            kind::BOOL_ERR => {
                let (value, is_error) = (fields.u8()?, fields.u8()?);
                self.boolean(value, is_error != 0)
            }
            _ => return self.read_result(),
        })
    }

    /// Reads the result of a formula: a number, or something else if its last bytes are 0xffff.
    fn read_result(&mut self) -> io::Result<CellValue> {
        if self.records.fields(12).u16()? != 0xffff {
            return Ok(CellValue::Number(self.records.fields(6).f64()?));
        }
        let (kind, value) = (self.records.fields(6).u8()?, self.records.fields(8).u8()?);
        Ok(match kind {
            0 => CellValue::TextFollows,
            1 | 2 => self.boolean(value, kind == 2),
            _ => {
                self.value.clear();
                CellValue::Text
            }
        })
    }

    fn boolean(&mut self, value: u8, is_error: bool) -> CellValue {
        if is_error {
            return CellValue::Error;
        }
        let shown = if value == 1 { "TRUE" } else { "FALSE" };
        shown.clone_into(&mut self.value);
        CellValue::Text
    }

    /// Reads the text of a formula, from the record after it. Records of shared formulas may be between.
    fn read_following_text(&mut self) -> io::Result<()> {
        self.value.clear();
        for _ in 0..2 {
            match self.records.next()? {
                Some(kind::STRING) => return self.records.fields(0).string(&mut self.value),
                Some(kind::SHARED_FORMULA | kind::ARRAY | kind::TABLE) => {}
                None => return Ok(()),
                Some(_) => break,
            }
        }
        self.records.hold();
        Ok(())
    }
}

impl XlsRows<'_> {
    /// Reads all cells of the next row. Returns its number, from 0, and the number of columns up to the last one that is
    /// filled.
    fn read_row(
        &mut self,
        keep: &mut impl FnMut(usize, &[u8]),
    ) -> io::Result<Option<(u16, usize)>> {
        let mut current = None;
        let mut columns = 0;
        while let Some(kind) = self.enter_cells()? {
            let mut fields = self.records.fields(0);
            let (row, first) = (fields.u16()?, fields.u16()?);
            if current.is_none() {
                if self.row.is_some_and(|last| row <= last) {
                    return Err(DeliveryFault::UnorderedRows.into());
                }
                current = Some(row);
            } else if current != Some(row) {
                self.records.hold();
                break;
            }
            let is_hidden = self.hidden_rows.contains(&row);
            let mut keep = |column: usize, text: Option<&str>| {
                if text.is_none_or(|text| !text.trim().is_empty()) {
                    columns = columns.max(column + 1);
                    if !is_hidden {
                        keep(column, text.unwrap_or_default().as_bytes());
                    }
                }
            };
            if kind == kind::MUL_RK {
                let cells = self.records.data().get(4..).unwrap_or_default();
                for (column, cell) in (usize::from(first)..).zip(cells.chunks_exact(6)) {
                    let format = u16::from_le_bytes([cell[0], cell[1]]);
                    let number = rk(u32::from_le_bytes([cell[2], cell[3], cell[4], cell[5]]));
                    keep(column, Some(&self.workbook.show(number, format)));
                }
                continue;
            }
            let format = fields.u16()?;
            let column = usize::from(first);
            match self.read_value(kind)? {
                CellValue::Number(number) => {
                    keep(column, Some(&self.workbook.show(number, format)));
                }
                CellValue::Text => keep(column, Some(&self.value)),
                CellValue::TextFollows => {
                    self.read_following_text()?;
                    keep(column, Some(&self.value));
                }
                CellValue::Error => keep(column, None),
            }
        }
        if columns > MAX_COLUMNS {
            return Err(DAMAGED.into());
        }
        self.row = current.or(self.row);
        Ok(current.map(|row| (row, columns)))
    }
}

impl Records for XlsRows<'_> {
    fn next<E>(
        &mut self,
        mut keep: impl FnMut(usize, &[u8]),
    ) -> Result<Option<Record>, ReadError<E>> {
        while let Some((row, columns)) = self.read_row(&mut keep)? {
            match record(u32::from(row) + 1, columns) {
                Some(_) if self.hidden_rows.contains(&row) => self.hidden += 1,
                Some(record) => return Ok(Some(record)),
                None => {}
            }
        }
        Ok(None)
    }
}

/// Decodes a number of 30 bits and two flags (\[MS-XLS\] 2.5.217): the upper half of a floating-point number or an integer,
/// and whether it is to be divided by 100.
fn rk(bits: u32) -> f64 {
    let number = if bits & 2 == 0 {
        f64::from_bits(u64::from(bits & !3) << 32)
    } else {
        f64::from(bits.cast_signed() >> 2)
    };
    if bits & 1 == 0 {
        number
    } else {
        number / 100.0
    }
}
