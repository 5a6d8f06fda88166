//! The dashboard: its files, and its work in a browser.

mod browser;
pub mod files;
