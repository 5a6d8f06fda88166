//! The dashboard: its files, and its behaviour in a browser.

mod browser;
pub mod files;
