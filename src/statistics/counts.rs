//! Counters of the ledger of a set.

use std::ops::{AddAssign, Sub};

/// Values of the counters, or their changes in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub assigned: i64,
    pub reserved: i64,
    pub released: i64,
    pub void: i64,
    pub sent: i64,
    pub used: i64,
    pub withdrawn: i64,
    pub for_others: i64,
}

/// Makes `Counts` of the columns of a row.
macro_rules! counts_of {
    ($row:expr) => {
        $crate::statistics::counts::Counts {
            assigned: $row.assigned,
            reserved: $row.reserved,
            released: $row.released,
            void: $row.void,
            sent: $row.sent,
            used: $row.used,
            withdrawn: $row.withdrawn,
            for_others: $row.for_others,
        }
    };
}
pub(super) use counts_of;

impl Counts {
    /// Returns the number of codes that are assigned, reserved or void.
    pub(super) fn taken(&self) -> i64 {
        self.assigned + self.reserved + self.void
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.assigned += other.assigned;
        self.reserved += other.reserved;
        self.released += other.released;
        self.void += other.void;
        self.sent += other.sent;
        self.used += other.used;
        self.withdrawn += other.withdrawn;
        self.for_others += other.for_others;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            assigned: self.assigned - other.assigned,
            reserved: self.reserved - other.reserved,
            released: self.released - other.released,
            void: self.void - other.void,
            sent: self.sent - other.sent,
            used: self.used - other.used,
            withdrawn: self.withdrawn - other.withdrawn,
            for_others: self.for_others - other.for_others,
        }
    }
}
