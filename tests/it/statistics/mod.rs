//! Statistics: totals, series, exports, and a recount that they are compared with.

mod export;
mod lag;
mod random_history;
mod recount;
mod series;
mod totals;
