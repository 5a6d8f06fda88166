//! Limits of a delivery, and the semaphore for workbooks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Size of the largest workbook, in bytes: its strings are held in memory while it is read.
pub(crate) const MAX_WORKBOOK_BYTES: u64 = 50 * 1024 * 1024;
/// Most bytes to which all parts of a workbook may be unpacked.
pub(crate) const MAX_WORKBOOK_UNPACKED: u64 = 512 * 1024 * 1024;

/// Limits of a delivery.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes of a packed file inside another; it is unpacked to a temporary file.
    pub max_inner_bytes: u64,
    /// Most bytes to which a packed text may be unpacked.
    pub max_unpacked_bytes: u64,
    /// Shared by all deliveries that may read workbooks at the same time.
    pub workbooks: WorkbookSemaphore,
}

/// A semaphore with one permit: one workbook is read at a time, because each takes memory.
#[derive(Debug, Clone, Default)]
pub struct WorkbookSemaphore(Arc<(Mutex<bool>, Condvar)>);

impl WorkbookSemaphore {
    /// Blocks the calling thread until the permit is free; `None` after the timeout.
    pub(crate) fn acquire(&self, timeout: Duration) -> Option<WorkbookPermit> {
        let (_, released) = &*self.0;
        let (mut is_taken, _) = released
            .wait_timeout_while(self.is_taken(), timeout, |is_taken| *is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        (!std::mem::replace(&mut *is_taken, true)).then(|| WorkbookPermit(self.clone()))
    }

    fn is_taken(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to read a workbook, released when it is dropped.
#[derive(Debug)]
pub(crate) struct WorkbookPermit(WorkbookSemaphore);

impl Drop for WorkbookPermit {
    fn drop(&mut self) {
        *self.0.is_taken() = false;
        self.0.0.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_belongs_to_one_reader_until_it_is_released() {
        let semaphore = WorkbookSemaphore::default();
        let first = semaphore.acquire(Duration::ZERO).expect("it is free");
        assert!(semaphore.acquire(Duration::from_millis(1)).is_none());
        let next = {
            let semaphore = semaphore.clone();
            std::thread::spawn(move || semaphore.acquire(Duration::from_mins(1)).is_some())
        };
        drop(first);
        assert!(next.join().expect("no panic"));
        assert!(semaphore.acquire(Duration::ZERO).is_some());
    }
}
