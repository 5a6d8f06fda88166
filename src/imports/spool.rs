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

use super::limits::Limits;
use super::{Import, Options, admission, db, fingerprint, refuse, unclosed_quote};
use crate::assignments::queue::Waiting;
use crate::coupon_sets;
use crate::database::Database;
use crate::error::{Error, TOO_LARGE, UNAVAILABLE};
use crate::tenants::TenantId;
use crate::tenants::auth::Origin;
use crate::time_zone::Zone;

/// Rows of a chunk: what is applied in one transaction.
const CHUNK_ROWS: usize = 50_000;
/// Bytes of codes after which a chunk ends early.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Rows that wait to be applied, and rows that the reader refused.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub row_nos: Vec<i32>,
    pub lines: Vec<i32>,
    pub codes: Vec<String>,
    /// Shorter than the others where the last ones never expire.
    pub expires_ats: Vec<Option<DateTime<Utc>>>,
    /// What else the rows tell: JSON objects as text; shorter in the same way.
    pub attributes: Vec<Option<String>>,
    /// The codes without regard to case; none if the set regards it.
    pub folds: Vec<String>,
    pub refused: Refused,
    bytes: usize,
    /// A row expires sooner than the one before it, of this chunk or of an earlier one.
    unsorted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Refused {
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
                self.refused.row_nos.push(row_no);
                self.refused.lines.push(line);
                self.refused.codes.push(rejection.code);
                self.refused.reasons.push(rejection.reason.as_str());
            }
        }
    }

    fn is_full(&self) -> bool {
        self.row_nos.len() + self.refused.row_nos.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    fn is_empty(&self) -> bool {
        self.row_nos.is_empty() && self.refused.row_nos.is_empty()
    }
}

/// Details of an upload besides its bytes.
pub(super) struct UploadDetails {
    pub set: Uuid,
    pub hint: ContentTypeHint,
    pub options: Options,
    /// The hash of the `Idempotency-Key`, if there is one.
    pub key: Option<Uuid>,
    pub origin: Origin,
    /// The id of the API key.
    pub caller: Uuid,
}

/// An import, and whether this upload created it.
pub(super) struct Stored {
    pub import: Import,
    pub created: bool,
}

/// Stores an upload and creates its import, or nothing at all.
pub(super) async fn store(
    database: &Database,
    waiting: &Waiting,
    tenant: TenantId,
    mut details: UploadDetails,
    file: File,
    limits: &Limits,
) -> Result<Stored, Error> {
    let id = Uuid::now_v7();
    let options = details.options.table()?;
    let (file, fingerprint) =
        fingerprint::take(file, details.hint, details.options.clone()).await?;
    // Before the transaction: a text is read to its end for its encoding, and a workbook waits for its turn.
    let (opened, options) = open(file, details.hint, options, limits.clone()).await?;
    let mut transaction = database.upload(tenant).await?;
    let set_no = coupon_sets::find_fillable(&mut transaction, tenant, details.set).await?;
    let mode = details.options.mode.unwrap_or_default();
    let force = details.options.force.unwrap_or_default();
    let upload = admission::Upload {
        set_no,
        mode,
        force,
        fingerprint: &fingerprint,
        key: details.key,
    };
    // Judged now, so that no file is stored in vain, and for good at the end.
    let earlier = |import| Stored {
        import,
        created: false,
    };
    if let Some(import) = admission::judge(&mut transaction, tenant, &upload).await? {
        return Ok(earlier(import));
    }
    let (zone, ignore_case) = db::reading(&mut transaction, tenant, set_no).await?;
    let zone = Zone::parse(&zone)
        .ok_or_else(|| Error::Internal(format!("{zone:?} is the time zone of a set")))?;
    let how = How {
        options,
        rules: RowRules {
            zone: zone.tz(),
            max_code_chars: limits.code_chars,
        },
        max_rows: limits.rows,
        ignore_case,
    };
    let (sender, receiver) = mpsc::channel(2);
    let reader = tokio::task::spawn_blocking(move || read(opened, &how, &sender));
    let stored = store_chunks(&mut transaction, waiting, tenant, id, receiver).await;
    let outcome = reader
        .await
        .map_err(|error| Error::Internal(format!("a reader failed: {error}")))?;
    let totals = stored?;

    let outcome = outcome.map(|layout| details.options.fill_in(layout));
    if let Err(ReadError::UnclosedQuote { .. }) = &outcome {
        transaction.rollback().await?;
        transaction = database.upload(tenant).await?;
    }
    coupon_sets::lock_imports(&mut transaction, tenant).await?;
    if let Some(import) = admission::judge(&mut transaction, tenant, &upload).await? {
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
        Ok(()) => {
            let (_, still) = db::reading(&mut transaction, tenant, set_no).await?;
            if still != ignore_case {
                let detail = "`ignoreCase` of the set was changed while the file was read. Nothing was stored; send it again.";
                return Err(Error::refused(&UNAVAILABLE, detail));
            }
            db::create(&mut transaction, tenant, &new, &totals).await?;
        }
        Err(ReadError::UnclosedQuote { line }) => {
            db::create_failed(&mut transaction, tenant, &new, &unclosed_quote(line)).await?;
        }
        Err(error) => return Err(refuse(error)),
    }
    // Read before the commit: after it, nothing may turn the answer into a failure.
    let import = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok(Stored {
        import,
        created: true,
    })
}

/// Counts of what was stored.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub rows: i32,
    pub refused: i32,
    /// How many were refused for which reason.
    pub reasons: BTreeMap<&'static str, i32>,
    pub chunks: i32,
    /// A row expires sooner than one before it.
    pub unsorted: bool,
}

async fn store_chunks(
    transaction: &mut Transaction<'static, Postgres>,
    waiting: &Waiting,
    tenant: TenantId,
    import: Uuid,
    mut chunks: mpsc::Receiver<Chunk>,
) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    while let Some(chunk) = chunks.recv().await {
        let begun = Instant::now();
        if waiting.is_asked() {
            db::write_evenly(transaction).await?;
        }
        let refused = i32::try_from(chunk.refused.row_nos.len()).unwrap_or(i32::MAX);
        let accepted = i32::try_from(chunk.row_nos.len()).unwrap_or(i32::MAX);
        if refused > 0 {
            db::store_refused(transaction, tenant, import, &chunk.refused).await?;
        }
        if accepted > 0 {
            db::store_chunk(transaction, tenant, import, totals.chunks, &chunk).await?;
            totals.chunks += 1;
        }
        totals.rows += accepted + refused;
        totals.refused += refused;
        for reason in chunk.refused.reasons {
            *totals.reasons.entry(reason).or_default() += 1;
        }
        totals.unsorted |= chunk.unsorted;
        waiting.give_way(begun.elapsed()).await;
    }
    Ok(totals)
}

/// How a file is read.
struct How {
    options: TableOptions,
    rules: RowRules,
    max_rows: i32,
    ignore_case: bool,
}

async fn open(
    file: File,
    hint: ContentTypeHint,
    options: TableOptions,
    limits: Limits,
) -> Result<(DeliveryReader, TableOptions), Error> {
    tokio::task::spawn_blocking(move || {
        let limits = limits.of_reader();
        let opened = DeliveryReader::open(file, hint, &options, &limits).map_err(refuse)?;
        Ok((opened, options))
    })
    .await
    .map_err(|error| Error::Internal(format!("a reader failed: {error}")))?
}

/// Runs on a thread of its own. Ends early when nobody takes the chunks any more.
fn read(
    opened: DeliveryReader,
    how: &How,
    chunks: &mpsc::Sender<Chunk>,
) -> Result<DeliveryLayout, ReadError<Error>> {
    let mut chunk = Chunk::default();
    let mut rows = 0;
    let mut last = DateTime::<Utc>::MIN_UTC;
    let mut sink = |row: Row| {
        if rows == how.max_rows {
            return Err(Error::refused(
                &TOO_LARGE,
                format!("A file may have at most {} rows.", how.max_rows),
            ));
        }
        rows += 1;
        if row.code.is_ok() {
            let expires_at = row.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            chunk.unsorted |= expires_at < last;
            last = expires_at;
        }
        if how.ignore_case
            && let Ok(code) = &row.code
        {
            chunk.folds.push(coupon_sets::fold(code));
        }
        chunk.push(rows, row);
        if chunk.is_full() {
            send(chunks, std::mem::take(&mut chunk))
        } else {
            Ok(())
        }
    };
    let layout = opened.read(&how.options, how.rules, &mut sink)?;
    if !chunk.is_empty() {
        send(chunks, chunk).map_err(ReadError::Sink)?;
    }
    Ok(layout)
}

fn send(chunks: &mpsc::Sender<Chunk>, chunk: Chunk) -> Result<(), Error> {
    chunks
        .blocking_send(chunk)
        .map_err(|_| Error::Internal("the rows of an upload are not taken any more".to_owned()))
}
