//! The check of the `Host` header. A proxy and the service could otherwise disagree about the host of a request.

use axum::extract::Request;
use axum::http::{Version, header};

use super::error::Error;

/// Rejects a request with more than one `Host` header, or with none unless it is HTTP/1.0 (RFC 9112, section 3.2).
pub(super) fn check(request: &Request) -> Result<(), Error> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || hosts == 0 && request.version() <= Version::HTTP_10 {
        return Ok(());
    }
    Err(Error::malformed(
        "A request must have exactly one `Host` header.",
    ))
}
