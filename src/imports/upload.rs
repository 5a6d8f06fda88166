//! Receiving a body into a temporary file, in constant memory.
//!
//! The file has no name, so the system removes it when the client disconnects or the service is killed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use delivery_reader::{ContentTypeHint, TextFormat};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::database::UPLOAD_CONNECTIONS;
use crate::http::error::{
    Error, OVERLOADED, REQUEST_TIMEOUT, STORAGE_FULL, TOO_LARGE, TOO_MANY_REQUESTS,
    UNSUPPORTED_MEDIA_TYPE,
};
use crate::http::extract::content_type;
use crate::ids::TenantId;
use crate::load::TenantPermits;

/// Longest pause of a client within an upload.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum average rate of an upload after a minute, in bytes per second. It rises by as much with each minute, so that no
/// upload takes days.
const MIN_RATE: u64 = 1024;
/// Maximum of the minimum rate.
const MAX_MIN_RATE: u64 = 64 * MIN_RATE;
/// Time from the start of an upload after which its rate is checked.
const RATE_GRACE_PERIOD: Duration = Duration::from_mins(1);
/// Bytes that are buffered before they are written to the file.
const BLOCK_BYTES: usize = 64 * 1024;

/// Maximum number of uploads that one replica receives at the same time, or that wait until they are stored. Each takes a
/// buffer, an open file and disk space.
const MAX_RECEIVED: usize = 512;
/// Part of them that is kept for tenants of which nothing is received yet.
const RECEIVED_RESERVE: usize = 128;
/// Maximum number of uploads of one tenant that are received at the same time.
const MAX_RECEIVED_OF_TENANT: usize = 64;

/// Maximum number of uploads that one replica reads and stores at the same time: as many as there are connections to store
/// them.
const MAX_STORED: usize = UPLOAD_CONNECTIONS as usize;
/// Maximum number of uploads of one tenant that are stored at the same time. Another finds a connection.
const MAX_STORED_OF_TENANT: usize = MAX_STORED / 2;
/// Longest wait of a received upload until it is stored.
const STORE_WAIT_LIMIT: Duration = Duration::from_mins(5);

/// The uploads that are being received or wait. Receiving is bounded, but waits for nobody: slow clients delay only themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedUploads(Arc<Mutex<Received>>);

#[derive(Debug, Default)]
struct Received {
    count: usize,
    of_tenants: HashMap<TenantId, usize>,
}

/// An upload that is being received or waits until it is stored, until this is dropped.
#[derive(Debug)]
pub(super) struct ReceivedUpload {
    uploads: ReceivedUploads,
    tenant: TenantId,
}

impl ReceivedUploads {
    /// Begins to receive an upload.
    ///
    /// # Errors
    ///
    /// 429 if too many uploads of the tenant are being received, 503 if too many of all.
    pub(super) fn begin(&self, tenant: TenantId) -> Result<ReceivedUpload, Error> {
        let mut received = self.received();
        let of_tenant = received.of_tenants.get(&tenant).copied().unwrap_or(0);
        if of_tenant >= MAX_RECEIVED_OF_TENANT {
            let detail = format!(
                "{MAX_RECEIVED_OF_TENANT} uploads of this tenant are in progress. Nothing was stored. Send the file again when one of them has ended."
            );
            return Err(Error::refused(&TOO_MANY_REQUESTS, detail));
        }
        let reserve = if of_tenant == 0 { 0 } else { RECEIVED_RESERVE };
        if received.count >= MAX_RECEIVED - reserve {
            return Err(too_many_uploads());
        }
        received.count += 1;
        *received.of_tenants.entry(tenant).or_default() += 1;
        Ok(ReceivedUpload {
            uploads: self.clone(),
            tenant,
        })
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Drop for ReceivedUpload {
    fn drop(&mut self) {
        let mut received = self.uploads.received();
        received.count -= 1;
        if let Some(of_tenant) = received.of_tenants.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                received.of_tenants.remove(&self.tenant);
            }
        }
    }
}

/// Slots for received uploads that are read and stored. Tenants take turns: at most two uploads of each are in line.
#[derive(Debug, Clone)]
pub(super) struct StoringSlots {
    all: Arc<Semaphore>,
    of_tenants: TenantPermits,
}

/// Permit to store one upload, released when it is dropped.
#[derive(Debug)]
pub(super) struct StoringSlot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for StoringSlots {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_STORED)),
            of_tenants: TenantPermits::new(MAX_STORED_OF_TENANT),
        }
    }
}

impl StoringSlots {
    pub(super) async fn take(&self, tenant: TenantId) -> Result<StoringSlot, Error> {
        let slot = async {
            Some(StoringSlot {
                _of_tenant: self.of_tenants.take(tenant).await?,
                _of_all: Arc::clone(&self.all).acquire_owned().await.ok()?,
            })
        };
        let slot = timeout(STORE_WAIT_LIMIT, slot).await.ok().flatten();
        slot.ok_or_else(too_many_uploads)
    }
}

fn too_many_uploads() -> Error {
    let detail =
        "Too many uploads are in progress. Nothing was stored. Send the file again in a moment.";
    Error::refused(&OVERLOADED, detail)
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
            | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
            | "application/vnd.oasis.opendocument.spreadsheet",
        ) => TextFormat::Csv,
        Some("text/plain") => TextFormat::List,
        Some("application/json") => TextFormat::Json,
        _ => {
            let detail = "Send the codes as text/csv, text/plain, application/json, application/gzip, \
                application/zip, application/vnd.ms-excel, application/vnd.oasis.opendocument.spreadsheet, \
                application/vnd.openxmlformats-officedocument.spreadsheetml.sheet or application/octet-stream.";
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
        .map_err(|error| file_error(&error))
}

/// The error of a temporary file: of the body, or of what was unpacked from it.
pub(super) fn file_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::error!(%error, "the folder for temporary files is full");
            let detail = "The service has no space left for files. Nothing was stored. Send the file again later.";
            Error::refused(&STORAGE_FULL, detail)
        }
        _ => Error::Internal(format!("the temporary file of an upload failed: {error}")),
    }
}

fn is_below_min_rate(elapsed: Duration, received: u64) -> bool {
    let rate = (elapsed.as_secs() / 60 * MIN_RATE).min(MAX_MIN_RATE);
    elapsed > RATE_GRACE_PERIOD && received < elapsed.as_secs().saturating_mul(rate)
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
        "The upload stalled for 30 seconds or was too slow: after its first minute it must average 1 KiB per second, and 1 KiB \
         more for each further minute, up to 64 KiB. Nothing was stored.",
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
        assert!(is_below_min_rate(at(110), 100 * 1024));
        assert!(!is_below_min_rate(at(110), 111 * 1024));
        // Ten minutes: 10 KiB per second.
        assert!(is_below_min_rate(at(600), 5_999 * 1024));
        assert!(!is_below_min_rate(at(600), 6_001 * 1024));
        // Ten hours: 64 KiB per second, so the largest file has arrived.
        assert!(is_below_min_rate(at(36_000), 2 << 30));
    }

    #[test]
    fn a_tenant_without_uploads_finds_room_when_others_fill_it() {
        let uploads = ReceivedUploads::default();
        let mut held = Vec::new();
        for number in 0..10 {
            let tenant = TenantId::made_up(number);
            held.extend((0..100).map_while(|_| uploads.begin(tenant).ok()));
        }
        // Four tenants find nothing left but the reserve, of which each gets one.
        assert_eq!(held.len(), MAX_RECEIVED - RECEIVED_RESERVE + 4);
        let of_one = uploads.received().of_tenants[&TenantId::made_up(0)];
        assert_eq!(of_one, MAX_RECEIVED_OF_TENANT);

        let other = TenantId::made_up(100);
        let first = uploads.begin(other).expect("the reserve has room");
        let refused = uploads.begin(other).unwrap_err();
        assert_eq!(refused.kind(), &OVERLOADED);
        let refused = uploads.begin(TenantId::made_up(0)).unwrap_err();
        assert_eq!(refused.kind(), &TOO_MANY_REQUESTS);
        drop(first);
        held.clear();
        assert!(uploads.received().of_tenants.is_empty());
        assert_eq!(uploads.received().count, 0);
    }
}
