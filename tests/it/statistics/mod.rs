//! Statistics: totals, series, exports, and a recount for comparison.

mod export;
mod lag;
mod random_history;
mod recount;
mod series;
mod totals;
