//! What a run measures: numbers of clients, durations and repetitions.

use std::time::Duration;

use crate::support::load::TimeRange;

/// Numbers of concurrent clients, each with its own connection.
pub const CLIENTS: [usize; 4] = [1, 4, 64, 256];
/// Number of clients at which the other variants are compared.
pub const REFERENCE_CLIENTS: usize = 64;
/// Connections of the textbook statement.
pub const TEXTBOOK_CONNECTIONS: usize = 32;
/// Items per batch, and the number of clients that send such batches.
pub const BATCHES: [(u32, usize); 3] = [(100, 4), (1000, 4), (1000, 1)];
/// Sets that are requested rarely while another set is under full load, and their rate all together.
pub const COLD_SETS: u64 = 200;
pub const COLD_RATE: f64 = 200.0;
pub const COLD_CLIENTS: usize = 64;
/// Codes of each cold set.
pub const COLD_CODES: u64 = 400;
/// Share of the top rate at which latency is measured.
pub const OPEN_SHARE: f64 = 0.5;
/// Numbers of concurrent clients of many sets.
pub const MANY_CLIENTS: [usize; 3] = [1, 64, 256];
/// Codes of the set that is then requested when it is exhausted.
pub const FEW_CODES: u64 = 100;

/// Durations and repetitions of a run.
#[derive(Debug)]
pub struct Plan {
    pub rounds: usize,
    /// Rows of the textbook table, and codes per set.
    pub codes: u64,
    pub textbook: TimeRange,
    pub assign: TimeRange,
    pub nothing: TimeRange,
    pub open: TimeRange,
    pub batch: TimeRange,
    pub exhausted: TimeRange,
    pub insert: TimeRange,
    pub cold: TimeRange,
    /// Repetitions per round of the cold sets alone, and then beside a hot set.
    pub turns: usize,
    /// Codes of each of many sets.
    pub many_codes: u64,
    pub many: TimeRange,
    /// Codes that Redis pops.
    pub redis: u64,
}

const fn span(warm_up: u64, measured: u64) -> TimeRange {
    TimeRange {
        warm_up: Duration::from_secs(warm_up),
        measured: Duration::from_secs(measured),
    }
}

pub const FULL: Plan = Plan {
    rounds: 3,
    codes: 2_500_000,
    textbook: span(2, 30),
    assign: span(2, 10),
    nothing: span(1, 4),
    open: span(2, 15),
    batch: span(1, 5),
    exhausted: span(1, 5),
    insert: span(1, 5),
    cold: span(2, 15),
    turns: 3,
    many_codes: 2_000,
    many: span(2, 10),
    redis: 100_000,
};

pub const QUICK: Plan = Plan {
    rounds: 1,
    codes: 600_000,
    textbook: span(1, 3),
    assign: span(1, 3),
    nothing: span(1, 2),
    open: span(1, 3),
    batch: span(1, 2),
    exhausted: span(1, 2),
    insert: span(1, 2),
    cold: span(1, 5),
    turns: 1,
    many_codes: 300,
    many: span(1, 4),
    redis: 20_000,
};
