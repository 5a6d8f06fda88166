//! Reading an upload and storing its rows in chunks, in the transaction that creates the import.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Instant;

use chrono::{DateTime, Utc};
use delivery_reader::{
    ContentTypeHint, DeliveryLayout, DeliveryReader, ReadError, Row, RowRules, TableOptions,
};
use sqlx::{Postgres, Transaction};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::limits::UploadLimits;
use super::{
    Import, ImportOptions, Imports, admission, db, fingerprint, read_error, unclosed_quote,
};
use crate::coupon_sets;
use crate::database::locks;
use crate::http::error::{Error, TOO_LARGE, UNAVAILABLE};
use crate::ids::TenantId;
use crate::load::LoadSignal;
use crate::tenants::auth::Origin;
use crate::text::fold;
use crate::time_zone::Zone;

/// Rows of a chunk, which is applied in one transaction.
const CHUNK_ROWS: usize = 50_000;
/// Bytes of codes after which a chunk ends early.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Rows to be applied, and rows that the reader rejected.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub row_nos: Vec<i32>,
    pub lines: Vec<i32>,
    pub codes: Vec<String>,
    /// Shorter than `codes` if the last codes never expire.
    pub expires_ats: Vec<Option<DateTime<Utc>>>,
    /// JSON objects as text; shorter than `codes` if the last codes have no attributes.
    pub attributes: Vec<Option<String>>,
    /// The codes folded for comparison without case; empty if the set does not ignore case.
    pub folds: Vec<String>,
    pub rejected: RejectedRows,
    bytes: usize,
    /// A row of this chunk expires sooner than the row before it, which may belong to an earlier chunk.
    unsorted: bool,
}

#[derive(Debug, Default)]
pub(super) struct RejectedRows {
    pub row_nos: Vec<i32>,
    pub lines: Vec<i32>,
    pub codes: Vec<String>,
    pub reasons: Vec<&'static str>,
}

impl Chunk {
    fn push(&mut self, row_no: i32, row: Row) {
        let line = i32::try_from(row.line).unwrap_or(i32::MAX);
        match row.code {
            Ok(code) => {
                self.bytes += code.len();
                self.row_nos.push(row_no);
                self.lines.push(line);
                self.codes.push(code);
                if row.expires_at.is_some() {
                    self.expires_ats.resize(self.codes.len() - 1, None);
                    self.expires_ats.push(row.expires_at);
                }
                if let Some(attributes) = row.attributes {
                    self.bytes += attributes.len();
                    self.attributes.resize(self.codes.len() - 1, None);
                    self.attributes.push(Some(attributes));
                }
            }
            Err(rejection) => {
                self.bytes += rejection.code.len();
                self.rejected.row_nos.push(row_no);
                self.rejected.lines.push(line);
                self.rejected.codes.push(rejection.code);
                self.rejected.reasons.push(rejection.reason.as_str());
            }
        }
    }

    fn is_full(&self) -> bool {
        self.row_nos.len() + self.rejected.row_nos.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    fn is_empty(&self) -> bool {
        self.row_nos.is_empty() && self.rejected.row_nos.is_empty()
    }
}

/// Details of an upload besides its bytes.
pub(super) struct UploadDetails {
    pub set: Uuid,
    pub hint: ContentTypeHint,
    pub options: ImportOptions,
    /// The hash of the `Idempotency-Key`, if there is one.
    pub key: Option<Uuid>,
    pub origin: Origin,
    /// The id of the API key.
    pub caller: Uuid,
}

/// Result of storing an upload.
pub(super) struct StoreResult {
    pub import: Import,
    /// This upload created the import; otherwise an earlier equal upload did.
    pub created: bool,
}

/// Stores an upload and creates its import, in one transaction.
pub(super) async fn store(
    state: &Imports,
    tenant: TenantId,
    mut details: UploadDetails,
    file: File,
) -> Result<StoreResult, Error> {
    let (database, limits) = (&state.database, &state.limits);
    let id = Uuid::now_v7();
    let options = details.options.table()?;
    let (file, fingerprint) =
        fingerprint::compute(file, details.hint, details.options.clone()).await?;
    // Opened before the transaction: a text is read to its end to detect its encoding, and a workbook waits for a permit.
    let (opened, options) = open(file, details.hint, options, limits.clone()).await?;
    let mut transaction = database.upload(tenant).await?;
    let set_no = coupon_sets::find_fillable(&mut transaction, tenant, details.set).await?;
    let mode = details.options.mode.unwrap_or_default();
    let force = details.options.force.unwrap_or_default();
    let upload = admission::UploadIdentity {
        set_no,
        mode,
        force,
        fingerprint: &fingerprint,
        key: details.key,
    };
    // Checked now, so that a repeated file is not stored in vain, and again under the lock.
    let earlier = |import| StoreResult {
        import,
        created: false,
    };
    if let Some(import) = admission::check(&mut transaction, tenant, &upload).await? {
        return Ok(earlier(import));
    }
    let (zone, ignore_case) = db::find_reading_rules(&mut transaction, tenant, set_no).await?;
    let zone = Zone::parse(&zone)
        .ok_or_else(|| Error::Internal(format!("{zone:?} is the time zone of a set")))?;
    let settings = ReadSettings {
        options,
        rules: RowRules {
            zone: zone.tz(),
            max_code_chars: limits.code_chars,
        },
        max_rows: limits.rows,
        ignore_case,
    };
    let (sender, receiver) = mpsc::channel(2);
    let reader = tokio::task::spawn_blocking(move || read(opened, &settings, &sender));
    let stored = store_chunks(&mut transaction, &state.load, tenant, id, receiver).await;
    let outcome = reader
        .await
        .map_err(|error| Error::Internal(format!("a reader failed: {error}")))?;
    let totals = stored?;

    let outcome = outcome.map(|layout| details.options.fill_in(layout));
    if let Err(ReadError::UnclosedQuote { .. }) = &outcome {
        transaction.rollback().await?;
        transaction = database.upload(tenant).await?;
    }
    locks::lock_imports(&mut transaction, tenant).await?;
    if let Some(import) = admission::check(&mut transaction, tenant, &upload).await? {
        return Ok(earlier(import));
    }
    let new = db::NewImport {
        id,
        upload: &upload,
        origin: details.origin,
        caller: details.caller,
        options: &details.options,
    };
    match outcome {
        Ok(warnings) => {
            let (_, still) = db::find_reading_rules(&mut transaction, tenant, set_no).await?;
            if still != ignore_case {
                let detail = "`ignoreCase` of the set was changed while the file was read. Nothing was stored. Send the file again.";
                return Err(Error::refused(&UNAVAILABLE, detail));
            }
            db::create(&mut transaction, tenant, &new, &totals, &warnings).await?;
        }
        Err(ReadError::UnclosedQuote { line }) => {
            db::create_failed(&mut transaction, tenant, &new, &unclosed_quote(line)).await?;
        }
        Err(error) => return Err(read_error(error)),
    }
    // Read before the commit: after it, no error may turn the response into a failure.
    let import = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok(StoreResult {
        import,
        created: true,
    })
}

/// Counts of the rows and chunks of an upload.
#[derive(Debug, Default)]
pub(super) struct UploadTotals {
    pub rows: i32,
    pub rejected: i32,
    /// Number of rejected rows by reason.
    pub reasons: BTreeMap<&'static str, i32>,
    pub chunks: i32,
    /// A row expires sooner than one before it.
    pub unsorted: bool,
}

async fn store_chunks(
    transaction: &mut Transaction<'static, Postgres>,
    load: &LoadSignal,
    tenant: TenantId,
    import: Uuid,
    mut chunks: mpsc::Receiver<Chunk>,
) -> Result<UploadTotals, Error> {
    let mut totals = UploadTotals::default();
    while let Some(chunk) = chunks.recv().await {
        let begun = Instant::now();
        if load.is_busy() {
            db::write_evenly(transaction).await?;
        }
        let rejected = i32::try_from(chunk.rejected.row_nos.len()).unwrap_or(i32::MAX);
        let accepted = i32::try_from(chunk.row_nos.len()).unwrap_or(i32::MAX);
        if rejected > 0 {
            db::store_rejected(transaction, tenant, import, &chunk.rejected).await?;
        }
        if accepted > 0 {
            db::store_chunk(transaction, tenant, import, totals.chunks, &chunk).await?;
            totals.chunks += 1;
        }
        totals.rows += accepted + rejected;
        totals.rejected += rejected;
        for reason in chunk.rejected.reasons {
            *totals.reasons.entry(reason).or_default() += 1;
        }
        totals.unsorted |= chunk.unsorted;
        load.yield_to_requests(begun.elapsed()).await;
    }
    Ok(totals)
}

/// Settings by which a file is read.
struct ReadSettings {
    options: TableOptions,
    rules: RowRules,
    max_rows: i32,
    ignore_case: bool,
}

async fn open(
    file: File,
    hint: ContentTypeHint,
    options: TableOptions,
    limits: UploadLimits,
) -> Result<(DeliveryReader, TableOptions), Error> {
    tokio::task::spawn_blocking(move || {
        let limits = limits.of_reader();
        let opened = DeliveryReader::open(file, hint, &options, &limits).map_err(read_error)?;
        Ok((opened, options))
    })
    .await
    .map_err(|error| Error::Internal(format!("a reader failed: {error}")))?
}

/// Reads the file and sends its chunks. Blocks its thread. Ends early if the receiver is closed.
fn read(
    opened: DeliveryReader,
    settings: &ReadSettings,
    chunks: &mpsc::Sender<Chunk>,
) -> Result<DeliveryLayout, ReadError<Error>> {
    let mut chunk = Chunk::default();
    let mut rows = 0;
    let mut last = DateTime::<Utc>::MIN_UTC;
    let mut sink = |row: Row| {
        if rows == settings.max_rows {
            return Err(Error::refused(
                &TOO_LARGE,
                format!("A file can have at most {} rows.", settings.max_rows),
            ));
        }
        rows += 1;
        if row.code.is_ok() {
            let expires_at = row.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            chunk.unsorted |= expires_at < last;
            last = expires_at;
        }
        if settings.ignore_case
            && let Ok(code) = &row.code
        {
            chunk.folds.push(fold(code));
        }
        chunk.push(rows, row);
        if chunk.is_full() {
            send(chunks, std::mem::take(&mut chunk))
        } else {
            Ok(())
        }
    };
    let layout = opened.read(&settings.options, settings.rules, &mut sink)?;
    if !chunk.is_empty() {
        send(chunks, chunk).map_err(ReadError::Sink)?;
    }
    Ok(layout)
}

fn send(chunks: &mpsc::Sender<Chunk>, chunk: Chunk) -> Result<(), Error> {
    chunks
        .blocking_send(chunk)
        .map_err(|_| Error::Internal("the rows of an upload are no longer accepted".to_owned()))
}
