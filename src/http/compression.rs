//! Compression of responses.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// Smallest size of a response that is compressed, in bytes. A smaller one fits into one packet either way.
const SMALLEST: u16 = 1_024;

/// Compresses JSON documents and CSV exports by gzip for clients that accept it. Exports remain streams. The fastest level
/// shortens a list of sets to an eighth, and the slowest one only to a tenth.
pub(crate) fn layer() -> CompressionLayer<impl Predicate + Send + Sync + 'static> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(SMALLEST).and(is_data))
}

/// The files of the dashboard are compressed at its build.
fn is_data(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.starts_with("application/json")
                || value.starts_with("application/problem+json")
                || value.starts_with("text/csv")
        })
}
