//! What the benchmarks share: the machine they run on, an HTTP client that costs little, and the arithmetic of figures.

pub mod cpu;
pub mod http;
pub mod load;
pub mod machine;
pub mod service;
pub mod table;

/// Whatever fails ends the benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Whether a short run was asked for: `cargo bench --bench assign -- --quick`.
pub fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// Counts as they are divided; none here comes near 2^52.
#[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// The middle one; of an even number the mean of the two in the middle.
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

/// Spreads a number over all 64 bits, without two numbers meeting: ids that look random and are all different.
pub fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
