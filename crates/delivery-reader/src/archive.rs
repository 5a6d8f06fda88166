//! The central directory of a zip archive: selects the relevant file and locates its bytes.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use crate::{DeliveryFault, code::printable, unpack::open_entry};

/// Most bytes that are read to find the directory, which is held in memory. The directory of a workbook has a few KiB.
const MAX_DIRECTORY_BYTES: u64 = 4 * 1024 * 1024;

/// Parts that make a zip archive a document of a format that is not supported, with the name of the format.
const FOREIGN_PARTS: [(&str, &str); 4] = [
    ("xl/workbook.bin", "a binary workbook (XLSB)"),
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("Index/Document.iwa", "an Apple Numbers or Pages document"),
];

/// The media type of an ODS workbook, and of a template for one.
const ODS_TYPE: &[u8] = b"application/vnd.oasis.opendocument.spreadsheet";

/// Location of the bytes of a file in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) deflated: bool,
    pub(crate) crc: u32,
}

/// A zip archive.
pub(crate) struct Archive {
    pub(crate) file: Arc<File>,
    zip: ZipArchive<DirectoryReader>,
    names: Vec<String>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    pub(crate) fn open(file: &Arc<File>) -> io::Result<Self> {
        let left = Arc::new(AtomicU64::new(MAX_DIRECTORY_BYTES));
        let reader = DirectoryReader {
            file: Arc::clone(file),
            left: Arc::clone(&left),
        };
        let zip = ZipArchive::new(reader).map_err(|error| match error {
            ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => error,
            // The directory is at the end, so a truncated archive has none.
            _ => DeliveryFault::NoDirectory.into(),
        })?;
        left.store(u64::MAX, Ordering::Relaxed);
        let names = (0..zip.len())
            .map(|index| match zip.name_for_index(index) {
                Some(Ok(name)) => name.into_owned(),
                _ => String::new(),
            })
            .collect();
        Ok(Self {
            file: Arc::clone(file),
            zip,
            names,
        })
    }

    pub(crate) fn is_xlsx(&self) -> bool {
        self.find("xl/workbook.xml").is_some() || self.find("/xl/workbook.xml").is_some()
    }

    /// Fails if the archive is a document of a format that is not supported.
    pub(crate) fn check_format(&self) -> Result<(), DeliveryFault> {
        let has = |part: &str| self.find(part).is_some();
        match FOREIGN_PARTS.iter().find(|(part, _)| has(part)) {
            Some((_, name)) => Err(DeliveryFault::OtherFormat { name }),
            None => Ok(()),
        }
    }

    /// Returns true if the archive has the parts of an ODF document whose type is a spreadsheet. Fails for other types.
    pub(crate) fn is_ods(&mut self) -> io::Result<bool> {
        let (Some(kind), Some(_)) = (self.find("mimetype"), self.find("content.xml")) else {
            return Ok(false);
        };
        let entry = self.entry(kind)?;
        let mut text = Vec::new();
        let length = ODS_TYPE.len() as u64;
        open_entry(&self.file, entry)
            .take(length)
            .read_to_end(&mut text)?;
        if text == ODS_TYPE {
            return Ok(true);
        }
        let name = "an OpenDocument, but not a spreadsheet";
        Err(DeliveryFault::OtherFormat { name }.into())
    }

    /// Finds a file by its name; ignores case if no name is equal.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names
            .iter()
            .position(|other| other == name)
            .or_else(|| {
                self.names
                    .iter()
                    .position(|other| other.eq_ignore_ascii_case(name))
            })
    }

    /// The only file that is not a folder and not hidden metadata of an operating system.
    pub(crate) fn only_file(mut self) -> io::Result<Entry> {
        let hidden = |name: &String| {
            name.ends_with('/')
                || name
                    .split('/')
                    .any(|part| part == "__MACOSX" || part.starts_with('.') || part == "Thumbs.db")
        };
        let files: Vec<usize> = (0..self.names.len())
            .filter(|index| !hidden(&self.names[*index]))
            .collect();
        match files[..] {
            [only] => self.entry(only),
            [] => Err(DeliveryFault::EmptyArchive.into()),
            _ => Err(DeliveryFault::SeveralFiles {
                files: files
                    .iter()
                    .map(|index| printable(&self.names[*index]))
                    .collect(),
            }
            .into()),
        }
    }

    pub(crate) fn entry(&mut self, index: usize) -> io::Result<Entry> {
        let name = printable(&self.names[index]);
        let file = self
            .zip
            .by_index_raw(index)
            .map_err(|_| DeliveryFault::Damaged {
                what: "zip archive",
            })?;
        if file.encrypted() {
            return Err(DeliveryFault::Encrypted { name }.into());
        }
        let deflated = match file.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            _ => return Err(DeliveryFault::UnknownMethod { name }.into()),
        };
        Ok(Entry {
            start: file.data_start().ok_or(DeliveryFault::Damaged {
                what: "zip archive",
            })?,
            length: file.compressed_size(),
            deflated,
            crc: file.crc32(),
        })
    }
}

/// Reads a file up to the limit of a directory.
struct DirectoryReader {
    file: Arc<File>,
    left: Arc<AtomicU64>,
}

impl Read for DirectoryReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&*self.file).read(buffer)?;
        let left = self.left.load(Ordering::Relaxed);
        match left.checked_sub(read as u64) {
            Some(rest) => {
                self.left.store(rest, Ordering::Relaxed);
                Ok(read)
            }
            None => Err(DeliveryFault::TooManyFiles.into()),
        }
    }
}

impl Seek for DirectoryReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(position)
    }
}
