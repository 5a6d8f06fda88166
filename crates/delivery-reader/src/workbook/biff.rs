//! Reads the records of an XLS workbook (BIFF8, \[MS-XLS\] 2.1.4): each has a type, a length, and data. Data that exceed the
//! longest record go on in records of the type `CONTINUE`.

use std::io::{self, BufRead};

use super::DAMAGED;

/// Type of a record that goes on with the record before it.
const CONTINUE: u16 = 0x003c;

/// Reads records one after another. It holds the current one, at most 64 KiB.
pub(super) struct RecordReader<R> {
    input: R,
    kind: u16,
    data: Vec<u8>,
    /// The current record was read ahead, and `next` is to return it.
    ahead: bool,
}

impl<R: BufRead> RecordReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            kind: 0,
            data: Vec::new(),
            ahead: false,
        }
    }

    /// Advances to the next record and returns its type, or `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<u16>> {
        if std::mem::take(&mut self.ahead) {
            return Ok(Some(self.kind));
        }
        if self.input.fill_buf().map_err(damaged)?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; 4];
        self.input.read_exact(&mut head).map_err(damaged)?;
        let [kind_low, kind_high, length_low, length_high] = head;
        self.kind = u16::from_le_bytes([kind_low, kind_high]);
        let length = u16::from_le_bytes([length_low, length_high]);
        self.data.resize(usize::from(length), 0);
        self.input.read_exact(&mut self.data).map_err(damaged)?;
        Ok(Some(self.kind))
    }

    /// Makes `next` return the current record again.
    pub(super) fn hold(&mut self) {
        self.ahead = true;
    }

    /// The data of the current record.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Reads the data of the current record from `start`, and of the records that continue it.
    pub(super) fn fields(&mut self, start: usize) -> Fields<'_, R> {
        Fields {
            records: self,
            at: start,
        }
    }
}

/// Converts the error of a malformed compound file.
pub(super) fn damaged(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            DAMAGED.into()
        }
        _ => error,
    }
}

/// The fields of a record and of those that continue it.
pub(super) struct Fields<'r, R> {
    records: &'r mut RecordReader<R>,
    /// Position in the data of the current record.
    at: usize,
}

impl<R: BufRead> Fields<'_, R> {
    /// Returns the data of the current record that are left, or those of the record that continues it. Fails at the end.
    fn rest(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.records.data.len() {
            if self.records.next()? != Some(CONTINUE) {
                return Err(DAMAGED.into());
            }
            self.at = 0;
        }
        Ok(&self.records.data[self.at..])
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.rest()?[0];
            self.at += 1;
        }
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        self.bytes().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> io::Result<f64> {
        self.bytes().map(f64::from_le_bytes)
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let skipped = self.rest()?.len().min(left);
            self.at += skipped;
            left -= skipped;
        }
        Ok(())
    }

    /// Replaces `text` with a string whose length is a `u16` (\[MS-XLS\] 2.5.293): formatting and phonetic text are skipped.
    pub(super) fn string(&mut self, text: &mut String) -> io::Result<()> {
        let length = self.u16()?;
        self.string_of(usize::from(length), text)
    }

    /// Replaces `text` with a string of `length` UTF-16 units.
    pub(super) fn string_of(&mut self, length: usize, text: &mut String) -> io::Result<()> {
        text.clear();
        let flags = self.u8()?;
        let runs = if flags & 8 == 0 { 0 } else { self.u16()? };
        let phonetic = if flags & 4 == 0 { 0 } else { self.u32()? };
        self.characters(length, flags & 1 != 0, text)?;
        self.skip(4 * usize::from(runs))?;
        self.skip(phonetic as usize)
    }

    /// Reads UTF-16 units, of which each has one byte unless they are `wide`. A record that continues a string states anew
    /// which.
    fn characters(&mut self, length: usize, wide: bool, text: &mut String) -> io::Result<()> {
        let mut wide = wide;
        let mut units = Vec::with_capacity(length);
        while units.len() < length {
            if self.at >= self.records.data.len() {
                wide = self.u8()? & 1 != 0;
                continue;
            }
            units.push(if wide {
                self.u16()?
            } else {
                u16::from(self.u8()?)
            });
        }
        let decoded = char::decode_utf16(units);
        text.extend(decoded.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
        Ok(())
    }
}
