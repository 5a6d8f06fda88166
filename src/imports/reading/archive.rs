//! The directory of a zip archive: which file of it counts, and where its bytes are.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{Fault, code::printable};

/// The bytes of the file that may be read to find the directory, which is held in memory; a workbook's has a few KiB.
const DIRECTORY_BYTES: u64 = 4 * 1024 * 1024;

/// The part that makes a zip archive a workbook.
const WORKBOOK: &str = "xl/workbook.xml";

/// Where the bytes of a file in an archive are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) deflated: bool,
    pub(super) crc: u32,
}

/// A zip archive.
pub(super) struct Archive {
    pub(super) file: Arc<File>,
    zip: ZipArchive<Frugal>,
    names: Vec<String>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    pub(super) fn open(file: &Arc<File>) -> io::Result<Self> {
        let left = Arc::new(AtomicU64::new(DIRECTORY_BYTES));
        let reader = Frugal {
            file: Arc::clone(file),
            left: Arc::clone(&left),
        };
        let zip = ZipArchive::new(reader).map_err(|error| match error {
            ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => error,
            // The directory stands at the end, so a cut archive has none.
            _ => Fault::NoDirectory.into(),
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

    pub(super) fn is_workbook(&self) -> bool {
        self.find(WORKBOOK).is_some() || self.find("/xl/workbook.xml").is_some()
    }

    /// A file by its name, without regard to case, as programs of all systems take it.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names
            .iter()
            .position(|other| other == name)
            .or_else(|| {
                self.names
                    .iter()
                    .position(|other| other.eq_ignore_ascii_case(name))
            })
    }

    /// The one file that is neither a folder nor something that a system put there for itself.
    pub(super) fn only_file(mut self) -> io::Result<Entry> {
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
            [] => Err(Fault::EmptyArchive.into()),
            _ => Err(Fault::SeveralFiles {
                files: files
                    .iter()
                    .map(|index| printable(&self.names[*index]))
                    .collect(),
            }
            .into()),
        }
    }

    pub(super) fn entry(&mut self, index: usize) -> io::Result<Entry> {
        let name = printable(&self.names[index]);
        let file = self.zip.by_index_raw(index).map_err(|_| Fault::Damaged {
            what: "zip archive",
        })?;
        if file.encrypted() {
            return Err(Fault::Encrypted { name }.into());
        }
        let deflated = match file.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            _ => return Err(Fault::UnknownMethod { name }.into()),
        };
        Ok(Entry {
            start: file.data_start().ok_or(Fault::Damaged {
                what: "zip archive",
            })?,
            length: file.compressed_size(),
            deflated,
            crc: file.crc32(),
        })
    }
}

/// Reads a file, but not more of it than a directory has.
struct Frugal {
    file: Arc<File>,
    left: Arc<AtomicU64>,
}

impl Read for Frugal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&*self.file).read(buffer)?;
        let left = self.left.load(Ordering::Relaxed);
        match left.checked_sub(read as u64) {
            Some(rest) => {
                self.left.store(rest, Ordering::Relaxed);
                Ok(read)
            }
            None => Err(Fault::TooManyFiles.into()),
        }
    }
}

impl Seek for Frugal {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(position)
    }
}
