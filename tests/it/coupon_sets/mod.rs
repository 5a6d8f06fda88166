//! Coupon sets: their fields, policies, child sets, stock and lists.

mod child_sets;
mod create_and_change;
mod list;
mod policies;
mod retention;
mod stock;
