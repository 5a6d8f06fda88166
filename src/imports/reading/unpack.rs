//! What a delivery is by its first bytes, and the bytes that are packed in it.
//!
//! gzip and zip are unpacked again for each pass over them, so they take no room on the disk. Only what is packed twice,
//! as a workbook in a zip, is unpacked into a file of its own.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use flate2::{
    CrcReader,
    bufread::{DeflateDecoder, MultiGzDecoder},
};

use super::{
    Fault,
    archive::{self, Archive},
};
use crate::imports::limits::Limits;

/// How often a delivery may be packed: a workbook in a zip that was sent with `Content-Encoding: gzip` is twice.
const DEEPEST: u8 = 3;

/// What the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Gzip,
    Zip,
    /// A workbook of before 2007, or one with a password.
    OldWorkbook,
    /// Another format that is no text.
    Other(&'static str),
    Nothing,
}

/// The first bytes of formats that people send for text.
const OTHERS: [(&[u8], &str); 6] = [
    (b"%PDF-", "a PDF"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
];

impl Magic {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => Self::OldWorkbook,
            [b'B', b'Z', b'h', level, ..] if !level.is_ascii_digit() => Self::Nothing,
            _ => OTHERS
                .iter()
                .find(|(magic, _)| bytes.starts_with(magic))
                .map_or(Self::Nothing, |(_, name)| Self::Other(name)),
        }
    }
}

/// How the bytes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    /// A file of an archive.
    Zip(archive::Entry),
}

/// A file, and how what counts is packed in it.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) file: Arc<File>,
    pub(super) packing: Packing,
    /// The most bytes that it may be unpacked.
    limit: u64,
}

/// What is in a delivery.
#[derive(Debug)]
pub(super) enum Content {
    Text(Packed),
    Workbook(Archive),
}

/// Finds what counts. `gzip` says that the caller announced it.
pub(super) fn unpack(file: File, gzip: bool, limits: &Limits) -> io::Result<Content> {
    let mut file = Arc::new(file);
    for depth in 0..DEEPEST {
        let magic = Magic::of(&head(Section::whole(&file))?);
        if gzip && depth == 0 && magic != Magic::Gzip {
            return Err(Fault::NotGzip.into());
        }
        let packing = match magic {
            Magic::Gzip => Packing::Gzip,
            Magic::Zip => {
                let archive = Archive::open(&file)?;
                if archive.is_workbook() {
                    return Ok(Content::Workbook(archive));
                }
                Packing::Zip(archive.only_file()?)
            }
            Magic::OldWorkbook => return Err(Fault::OldWorkbook.into()),
            Magic::Other(name) => return Err(Fault::OtherFormat { name }.into()),
            Magic::Nothing => Packing::Plain,
        };
        let packed = Packed {
            file,
            packing,
            limit: limits.unpacked,
        };
        // What cannot be unpacked at all fails when it is read.
        let inner = match packing {
            Packing::Plain => Magic::Nothing,
            Packing::Gzip | Packing::Zip(_) => Magic::of(&head(packed.open()).unwrap_or_default()),
        };
        if inner == Magic::Nothing {
            return Ok(Content::Text(packed));
        }
        // What is unpacked into a file takes no more room than a body may.
        let mut inner = Bounded::new(packed.open(), limits.bytes, limits.bytes);
        let mut unpacked = tempfile::tempfile()?;
        io::copy(&mut inner, &mut unpacked)?;
        unpacked.flush()?;
        file = Arc::new(unpacked);
    }
    Err(Fault::PackedTooOften.into())
}

fn head(mut input: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(8);
    input.by_ref().take(8).read_to_end(&mut head)?;
    Ok(head)
}

impl Packed {
    /// The unpacked bytes, from the first.
    pub(super) fn open(&self) -> Box<dyn Read + Send> {
        let file = || Section::whole(&self.file);
        match self.packing {
            Packing::Plain => Box::new(file()),
            Packing::Gzip => Box::new(Bounded::new(
                Gunzip(MultiGzDecoder::new(BufReader::with_capacity(
                    64 * 1024,
                    file(),
                ))),
                self.limit,
                self.limit,
            )),
            Packing::Zip(entry) => Box::new(Bounded::new(
                open_entry(&self.file, entry),
                self.limit,
                self.limit,
            )),
        }
    }
}

/// A part of a file, read without moving any position that others share.
#[derive(Clone, Debug)]
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    pub(super) fn new(file: &Arc<File>, start: u64, length: u64) -> Self {
        Self {
            file: Arc::clone(file),
            at: start,
            end: start.saturating_add(length),
        }
    }

    pub(super) fn whole(file: &Arc<File>) -> Self {
        Self::new(file, 0, u64::MAX)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..count], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Tells a cut stream from a broken one.
struct Gunzip<R>(MultiGzDecoder<R>);

impl<R: io::BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::CutShort.into(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Fault::Damaged { what: "gzip data" }.into()
            }
            _ => error,
        })
    }
}

/// Ends with a fault when more comes than is allowed, whatever a header said of the size.
pub(super) struct Bounded<R> {
    input: R,
    left: u64,
    limit: u64,
    passed: u64,
}

impl<R> Bounded<R> {
    /// `limit` is what the fault names, `left` what is left of it.
    pub(super) fn new(input: R, left: u64, limit: u64) -> Self {
        Self {
            input,
            left,
            limit,
            passed: 0,
        }
    }

    /// The bytes that came so far.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.passed += read as u64;
        if self.passed > self.left {
            return Err(Fault::UnpackedTooLarge { limit: self.limit }.into());
        }
        Ok(read)
    }
}

/// The bytes of a file in an archive, compared with its checksum at the end.
pub(super) fn open_entry(file: &Arc<File>, entry: archive::Entry) -> Box<dyn Read + Send> {
    let section = Section::new(file, entry.start, entry.length);
    let section = BufReader::with_capacity(64 * 1024, section);
    let bytes: Box<dyn Read + Send> = if entry.deflated {
        Box::new(DeflateDecoder::new(section))
    } else {
        Box::new(section)
    };
    Box::new(Checked {
        input: CrcReader::new(bytes),
        crc: entry.crc,
    })
}

struct Checked<R> {
    input: CrcReader<R>,
    crc: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged = || {
            io::Error::from(Fault::Damaged {
                what: "zip archive",
            })
        };
        let read = self
            .input
            .read(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData => damaged(),
                _ => error,
            })?;
        if read == 0 && !buffer.is_empty() && self.input.crc().sum() != self.crc {
            return Err(damaged());
        }
        Ok(read)
    }
}
