//! The bytes of a delivery, 64 KiB at a time, and the line at which they stand.
//!
//! LF, CRLF and a lone CR each end one line. A byte order mark is dealt with at the start: that of
//! UTF-8 is skipped, those of UTF-16 are a fault.

use std::io::{self, Read};

use super::{Fault, ReadError};

/// The bytes held at a time, which are also the sample from which the delimiter is guessed.
const BUFFER: usize = 64 * 1024;

pub(super) struct Source<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The line of the next byte, from 1.
    line: u32,
    after_cr: bool,
}

impl<R: Read> Source<R> {
    pub(super) fn open<E>(input: R) -> Result<Self, ReadError<E>> {
        let mut source = Self {
            input,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            line: 1,
            after_cr: false,
        };
        while source.end < BUFFER {
            let read = read(&mut source.input, &mut source.buffer[source.end..])?;
            if read == 0 {
                break;
            }
            source.end += read;
        }
        match source.buffer[..source.end] {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(Fault::UnreadableEncoding.into()),
            [0xef, 0xbb, 0xbf, ..] => source.start = 3,
            _ => {}
        }
        Ok(source)
    }

    /// The first bytes; only before anything was read. The flag says whether they are all there is.
    pub(super) fn sample(&self) -> (&[u8], bool) {
        (&self.buffer[self.start..self.end], self.end < BUFFER)
    }

    /// The next bytes; none at the end.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = read(&mut self.input, &mut self.buffer)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Passes over bytes that `fill` gave.
    pub(super) fn consume(&mut self, count: usize) {
        for &byte in &self.buffer[self.start..self.start + count] {
            let breaks = byte == b'\r' || (byte == b'\n' && !self.after_cr);
            self.line = self.line.saturating_add(u32::from(breaks));
            self.after_cr = byte == b'\r';
        }
        self.start += count;
    }

    pub(super) fn line(&self) -> u32 {
        self.line
    }
}

fn read(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
