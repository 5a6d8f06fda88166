//! How much of an upload is taken, and the turn to read a workbook.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Config;

/// The largest workbook, in bytes: its strings are held in memory while it is read.
pub(super) const MAX_WORKBOOK_BYTES: u64 = 50 * 1024 * 1024;
/// The most that all parts of a workbook may be unpacked.
pub(super) const MAX_WORKBOOK_UNPACKED: u64 = 512 * 1024 * 1024;

/// How much of an upload is taken.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// The bytes of a body.
    pub bytes: u64,
    /// The bytes of what a packed body holds.
    pub unpacked: u64,
    pub rows: i32,
    /// The characters of a code.
    pub code_chars: usize,
    pub workbooks: Turns,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            bytes: config.import_max_bytes,
            unpacked: config.import_max_unpacked_bytes,
            rows: config.import_max_rows,
            code_chars: usize::from(config.import_max_code_length),
            workbooks: Turns::default(),
        }
    }
}

/// Lets one workbook be read at a time, because each takes memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<(Mutex<bool>, Condvar)>);

impl Turns {
    /// Waits so long for the turn of the calling thread.
    pub(super) fn take(&self, wait: Duration) -> Option<Turn> {
        let (_, freed) = &*self.0;
        let (mut taken, _) = freed
            .wait_timeout_while(self.taken(), wait, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner);
        (!std::mem::replace(&mut *taken, true)).then(|| Turn(self.clone()))
    }

    fn taken(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of one reader, given to the next when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.taken() = false;
        self.0.0.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_one_readers_until_it_is_given_back() {
        let turns = Turns::default();
        let first = turns.take(Duration::ZERO).expect("nobody has it");
        assert!(turns.take(Duration::from_millis(1)).is_none());
        let next = {
            let turns = turns.clone();
            std::thread::spawn(move || turns.take(Duration::from_mins(1)).is_some())
        };
        drop(first);
        assert!(next.join().expect("no panic"));
        assert!(turns.take(Duration::ZERO).is_some());
    }
}
