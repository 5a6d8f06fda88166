//! Shared parts of the benchmarks: the service as a process, a cheap HTTP client, load, and arithmetic.

pub mod cpu;
pub mod http;
pub mod load;
pub mod machine;
pub mod process;
pub mod replicas;
pub mod service;
pub mod table;

/// A result whose error ends the benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// True if a short run was requested: `cargo bench --bench assign -- --quick`.
pub fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// Converts a count for a division; no count here comes near 2^52.
#[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// The median; for an even number of values the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Maps a number to 64 bits without collisions: ids that look random and are all distinct.
pub fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
