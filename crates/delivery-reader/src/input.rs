//! Buffers the bytes of a text, 64 KiB at a time, and counts lines.
//!
//! LF, CRLF and a lone CR each end one line. At the start, a byte order mark of UTF-8 is skipped, and one of UTF-16 is a
//! fault.

use std::io::{self, Read};

use crate::{DeliveryFault, ReadError};

/// Size of the buffer, which is also the sample from which the delimiter is detected.
const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) struct InputBuffer<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The line of the next byte, from 1.
    line: u32,
    after_cr: bool,
}

impl<R: Read> InputBuffer<R> {
    pub(crate) fn open<E>(input: R) -> Result<Self, ReadError<E>> {
        let mut source = Self {
            input,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            line: 1,
            after_cr: false,
        };
        while source.end < BUFFER_BYTES {
            let read = read(&mut source.input, &mut source.buffer[source.end..])?;
            if read == 0 {
                break;
            }
            source.end += read;
        }
        match source.buffer[..source.end] {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                return Err(DeliveryFault::UnreadableEncoding.into());
            }
            [0xef, 0xbb, 0xbf, ..] => source.start = 3,
            _ => {}
        }
        Ok(source)
    }

    /// The first bytes, and whether they are the whole text. To be called before anything is consumed.
    pub(crate) fn sample(&self) -> (&[u8], bool) {
        (&self.buffer[self.start..self.end], self.end < BUFFER_BYTES)
    }

    /// The next bytes; none at the end.
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = read(&mut self.input, &mut self.buffer)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Skips bytes that `fill` returned.
    pub(crate) fn consume(&mut self, count: usize) {
        for &byte in &self.buffer[self.start..self.start + count] {
            let breaks = byte == b'\r' || (byte == b'\n' && !self.after_cr);
            self.line = self.line.saturating_add(u32::from(breaks));
            self.after_cr = byte == b'\r';
        }
        self.start += count;
    }

    pub(crate) fn line(&self) -> u32 {
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
