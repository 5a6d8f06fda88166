//! Detects the packing of a delivery by its first bytes, and unpacks it.
//!
//! gzip and zip are unpacked again for each pass over them, so they take no disk space. Only a package inside a package,
//! such as a workbook in a zip, is unpacked to a temporary file.

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

use crate::{
    DeliveryFault, Limits,
    archive::{self, Archive},
    workbook::WorkbookFile,
};

/// Most nested packages: a workbook in a zip that was sent with `Content-Encoding: gzip` has two around the workbook.
const MAX_PACKINGS: u8 = 3;

/// The format that the first bytes identify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Gzip,
    Zip,
    /// A document of Office before 2007, or one with a password.
    CompoundFile,
    /// Another format that is not text.
    Other(&'static str),
    Unknown,
}

/// First bytes of formats that are sent by mistake, with the name of the format.
const FOREIGN_FORMATS: [(&[u8], &str); 6] = [
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
            [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => Self::CompoundFile,
            [b'B', b'Z', b'h', level, ..] if !level.is_ascii_digit() => Self::Unknown,
            _ => FOREIGN_FORMATS
                .iter()
                .find(|(magic, _)| bytes.starts_with(magic))
                .map_or(Self::Unknown, |(_, name)| Self::Other(name)),
        }
    }
}

/// The packing of the bytes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    /// A file in an archive.
    Zip(archive::Entry),
}

/// A file with a text that may be packed in it.
#[derive(Clone, Debug)]
pub(crate) struct PackedFile {
    pub(crate) file: Arc<File>,
    pub(crate) packing: Packing,
    /// Most bytes to which it may be unpacked.
    limit: u64,
}

/// The content of a delivery.
#[derive(Debug)]
pub(crate) enum Content {
    Text(PackedFile),
    Workbook(WorkbookFile),
}

/// Finds the text or workbook in a file. `gzip` is true if the caller announced it.
pub(crate) fn unpack(file: File, gzip: bool, limits: &Limits) -> io::Result<Content> {
    let mut file = Arc::new(file);
    for depth in 0..MAX_PACKINGS {
        let magic = Magic::of(&head(Section::whole(&file))?);
        if gzip && depth == 0 && magic != Magic::Gzip {
            return Err(DeliveryFault::NotGzip.into());
        }
        let packing = match magic {
            Magic::Gzip => Packing::Gzip,
            Magic::Zip => {
                let mut archive = Archive::open(&file)?;
                if archive.is_xlsx() {
                    return Ok(Content::Workbook(WorkbookFile::Xlsx(archive)));
                }
                archive.check_format()?;
                if archive.is_ods()? {
                    return Ok(Content::Workbook(WorkbookFile::Ods(archive)));
                }
                Packing::Zip(archive.only_file()?)
            }
            Magic::CompoundFile => return Ok(Content::Workbook(WorkbookFile::Xls(file))),
            Magic::Other(name) => return Err(DeliveryFault::OtherFormat { name }.into()),
            Magic::Unknown => Packing::Plain,
        };
        let packed = PackedFile {
            file,
            packing,
            limit: limits.max_unpacked_bytes,
        };
        // A package that cannot be unpacked fails when the text is read.
        let inner = match packing {
            Packing::Plain => Magic::Unknown,
            Packing::Gzip | Packing::Zip(_) => Magic::of(&head(packed.open()).unwrap_or_default()),
        };
        if inner == Magic::Unknown {
            return Ok(Content::Text(packed));
        }
        let limit = limits.max_inner_bytes;
        let mut inner = SizeLimitedReader::new(packed.open(), limit, limit);
        let mut unpacked = tempfile::tempfile()?;
        io::copy(&mut inner, &mut unpacked)?;
        unpacked.flush()?;
        file = Arc::new(unpacked);
    }
    Err(DeliveryFault::PackedTooOften.into())
}

fn head(mut input: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(8);
    input.by_ref().take(8).read_to_end(&mut head)?;
    Ok(head)
}

impl PackedFile {
    /// Opens the unpacked bytes, from the first.
    pub(crate) fn open(&self) -> Box<dyn Read + Send> {
        let file = || Section::whole(&self.file);
        match self.packing {
            Packing::Plain => Box::new(file()),
            Packing::Gzip => Box::new(SizeLimitedReader::new(
                GzipReader(MultiGzDecoder::new(BufReader::with_capacity(
                    64 * 1024,
                    file(),
                ))),
                self.limit,
                self.limit,
            )),
            Packing::Zip(entry) => Box::new(SizeLimitedReader::new(
                open_entry(&self.file, entry),
                self.limit,
                self.limit,
            )),
        }
    }
}

/// A section of a file, read without moving the file's shared position.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    pub(crate) fn new(file: &Arc<File>, start: u64, length: u64) -> Self {
        Self {
            file: Arc::clone(file),
            at: start,
            end: start.saturating_add(length),
        }
    }

    pub(crate) fn whole(file: &Arc<File>) -> Self {
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

/// Distinguishes a truncated stream from a damaged one.
struct GzipReader<R>(MultiGzDecoder<R>);

impl<R: io::BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => DeliveryFault::CutShort.into(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                DeliveryFault::Damaged { what: "gzip data" }.into()
            }
            _ => error,
        })
    }
}

/// Fails when more bytes arrive than a limit allows, whatever size a header declares.
pub(crate) struct SizeLimitedReader<R> {
    input: R,
    left: u64,
    limit: u64,
    passed: u64,
}

impl<R> SizeLimitedReader<R> {
    /// `limit` is named in the fault; `left` is the part of it that is not used up.
    pub(crate) fn new(input: R, left: u64, limit: u64) -> Self {
        Self {
            input,
            left,
            limit,
            passed: 0,
        }
    }

    /// The number of bytes that were read.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }
}

impl<R: Read> Read for SizeLimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.passed += read as u64;
        if self.passed > self.left {
            return Err(DeliveryFault::UnpackedTooLarge { limit: self.limit }.into());
        }
        Ok(read)
    }
}

/// Opens a file in an archive; its checksum is compared at the end.
pub(crate) fn open_entry(file: &Arc<File>, entry: archive::Entry) -> Box<dyn Read + Send> {
    let section = Section::new(file, entry.start, entry.length);
    let section = BufReader::with_capacity(64 * 1024, section);
    let bytes: Box<dyn Read + Send> = if entry.deflated {
        Box::new(DeflateDecoder::new(section))
    } else {
        Box::new(section)
    };
    Box::new(ChecksumReader {
        input: CrcReader::new(bytes),
        crc: entry.crc,
    })
}

struct ChecksumReader<R> {
    input: CrcReader<R>,
    crc: u32,
}

impl<R: Read> Read for ChecksumReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged = || {
            io::Error::from(DeliveryFault::Damaged {
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
