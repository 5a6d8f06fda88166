//! Receiving a body into a temporary file, in constant memory.
//!
//! The file has no name, so the system removes it when the client disconnects or the service is killed.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use delivery_reader::{ContentTypeHint, TextFormat};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::http::error::{Error, OVERLOADED, REQUEST_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use crate::http::extract::content_type;
use crate::ids::TenantId;
use crate::load::TenantPermits;

/// Longest pause of a client within an upload.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Least average rate of an upload, in bytes per second: a slower client would occupy its slot for hours.
const MIN_RATE: u64 = 1024;
/// Time from the start of an upload after which its rate is checked.
const RATE_GRACE_PERIOD: Duration = Duration::from_mins(1);
/// Bytes that are buffered before they are written to the file.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Most uploads that one replica receives or stores at the same time.
const MAX_UPLOADS: usize = 16;
/// Most of these uploads that belong to one tenant.
const MAX_TENANT_UPLOADS: usize = 4;

/// Longest wait of an upload for its slot.
const SLOT_TIMEOUT: Duration = Duration::from_secs(10);

/// Slots for uploads. Each upload takes disk space, memory and later a database connection, so their number is limited.
#[derive(Debug, Clone)]
pub(super) struct UploadSlots {
    all: Arc<Semaphore>,
    of_tenants: TenantPermits,
}

/// Permit for one upload, released when it is dropped.
#[derive(Debug)]
pub(super) struct UploadSlot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for UploadSlots {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_UPLOADS)),
            of_tenants: TenantPermits::new(MAX_TENANT_UPLOADS),
        }
    }
}

impl UploadSlots {
    pub(super) async fn take(&self, tenant: TenantId) -> Result<UploadSlot, Error> {
        let slot = async {
            Some(UploadSlot {
                _of_tenant: self.of_tenants.take(tenant).await?,
                _of_all: Arc::clone(&self.all).acquire_owned().await.ok()?,
            })
        };
        timeout(SLOT_TIMEOUT, slot).await.ok().flatten().ok_or_else(|| {
            let detail = "Too many uploads are in progress. Nothing was stored. Send the file again in a moment.";
            Error::refused(&OVERLOADED, detail)
        })
    }
}

/// Reads the format from the headers of an upload. Workbooks and packing are detected by the reader.
pub(super) fn content_type_hint(headers: &HeaderMap) -> Result<ContentTypeHint, Error> {
    let format = match content_type(headers).as_deref() {
        Some(
            "text/csv"
            | "text/tab-separated-values"
            | "application/gzip"
            | "application/x-gzip"
            | "application/zip"
            | "application/x-zip-compressed"
            | "application/octet-stream"
            | "application/vnd.ms-excel"
            | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ) => TextFormat::Csv,
        Some("text/plain") => TextFormat::List,
        Some("application/json") => TextFormat::Json,
        _ => {
            let detail = "Send the codes as text/csv, text/plain, application/json, application/gzip, \
                application/zip, application/octet-stream or \
                application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.";
            return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let gzip = is_gzip(headers)?;
    Ok(ContentTypeHint { format, gzip })
}

/// Returns true if `Content-Encoding` is gzip; rejects any other encoding.
pub(super) fn is_gzip(headers: &HeaderMap) -> Result<bool, Error> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(_) => Err(Error::refused(
            &UNSUPPORTED_MEDIA_TYPE,
            "The only supported Content-Encoding is gzip.",
        )),
    }
}

/// Receives a body of at most `limit` bytes. The returned file is positioned at its start.
pub(super) async fn receive(body: Body, limit: u64) -> Result<File, Error> {
    // The announced length is checked first, so that a client need not send 2 GiB before it is rejected.
    if HttpBody::size_hint(&body).lower() > limit {
        return Err(too_large(limit));
    }
    let frames = body
        .into_data_stream()
        .map(|frame| frame.map_err(|_| interrupted()));
    receive_stream(frames, limit).await
}

pub(super) async fn receive_stream(
    frames: impl Stream<Item = Result<Bytes, Error>>,
    limit: u64,
) -> Result<File, Error> {
    let mut frames = std::pin::pin!(frames);
    let mut file = blocking(tempfile::tempfile).await?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut received = 0_u64;
    let started = Instant::now();
    while let Some(frame) = timeout(STALL_TIMEOUT, frames.next())
        .await
        .map_err(|_| too_slow())?
    {
        let frame = frame?;
        received += frame.len() as u64;
        if received > limit {
            return Err(too_large(limit));
        }
        if is_below_min_rate(started.elapsed(), received) {
            return Err(too_slow());
        }
        block.extend_from_slice(&frame);
        if block.len() >= BLOCK_BYTES {
            (file, block) = write(file, block).await?;
        }
    }
    let (mut file, _) = write(file, block).await?;
    blocking(move || file.seek(SeekFrom::Start(0)).map(|_| file)).await
}

async fn write(mut file: File, mut block: Vec<u8>) -> Result<(File, Vec<u8>), Error> {
    blocking(move || {
        file.write_all(&block)?;
        block.clear();
        Ok((file, block))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(format!("an upload task failed: {error}")))?
        .map_err(|error| {
            Error::Internal(format!(
                "the temporary file of an upload cannot be written: {error}"
            ))
        })
}

fn is_below_min_rate(elapsed: Duration, received: u64) -> bool {
    elapsed > RATE_GRACE_PERIOD && received < elapsed.as_secs().saturating_mul(MIN_RATE)
}

fn too_large(limit: u64) -> Error {
    Error::refused(
        &TOO_LARGE,
        format!("The body can have at most {limit} bytes."),
    )
}

pub(super) fn too_slow() -> Error {
    Error::refused(
        &REQUEST_TIMEOUT,
        "The upload stalled for 30 seconds or was slower than 1 KiB per second. Nothing was stored.",
    )
}

pub(super) fn interrupted() -> Error {
    Error::malformed("The upload was interrupted. Nothing was stored.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_may_be_slow_but_not_drip() {
        let at = Duration::from_secs;
        assert!(!is_below_min_rate(at(59), 1));
        assert!(is_below_min_rate(at(120), 100 * 1024));
        assert!(!is_below_min_rate(at(120), 121 * 1024));
    }
}
