//! Limits of an upload.

use delivery_reader::WorkbookSemaphore;

use crate::config::Config;

/// Limits of an upload.
#[derive(Debug, Clone)]
pub(super) struct UploadLimits {
    /// Most bytes of a body.
    pub bytes: u64,
    /// Most bytes to which a packed body may be unpacked.
    pub unpacked: u64,
    /// Most rows that are not blank.
    pub rows: i32,
    /// Most characters of a code.
    pub code_chars: usize,
    pub workbooks: WorkbookSemaphore,
}

impl UploadLimits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            bytes: config.import_max_bytes,
            unpacked: config.import_max_unpacked_bytes,
            rows: config.import_max_rows,
            code_chars: usize::from(config.import_max_code_length),
            workbooks: WorkbookSemaphore::default(),
        }
    }

    /// Returns the limits of the reader. A file that is unpacked to disk may be as large as a body.
    pub(super) fn of_reader(&self) -> delivery_reader::Limits {
        delivery_reader::Limits {
            max_inner_bytes: self.bytes,
            max_unpacked_bytes: self.unpacked,
            workbooks: self.workbooks.clone(),
        }
    }
}
