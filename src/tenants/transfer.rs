//! Copies of a tenant: into a file, and from a file into another database of the same schema.
//!
//! A file is compressed by gzip. Its first line is a [`Header`] as JSON. For each table follow a line with its name, the rows in the
//! text format of `COPY`, and a line `\.`. The last line is `end`, so that a file that was cut off is recognized. Rows are
//! streamed, so the memory that a copy takes does not depend on the size of the tenant.
//!
//! Sessions are not copied: a browser that is signed in to one server is not signed in to another.

use std::io::{self, BufRead, Write};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::db::{self, TenantRow};
use super::{Tenant, TenantState};
use crate::database::Database;

/// Name and version of the format.
const FORMAT: &str = "couponry tenant 1";
/// Line after the rows of a table.
const TABLE_END: &str = "\\.";
/// Last line of a file.
const FILE_END: &str = "end";
/// Bytes that are sent to the database at once.
const SEND_SIZE: usize = 64 << 10;

/// A table of tenants, and the statement that reads its rows. Row level security limits them to one tenant.
struct Table {
    name: &'static str,
    read: &'static str,
}

macro_rules! tables {
    ($($name:literal)*) => {
        &[$(Table { name: $name, read: concat!("copy (select * from ", $name, ") to stdout") }),*]
    };
}

/// The tables that are copied, referred ones first: `tenant_tables()` in reverse order, without the sessions.
const TABLES: &[Table] = tables![
    "api_keys" "coupon_sets" "workflows" "workflow_sets" "coupon_set_terms" "contacts" "lots" "cards" "withdrawals"
    "assignments" "ledger_entries" "assignment_answers" "statistics_expiries" "statistics_sources" "statistics_shares"
    "statistics_checkpoints" "statistics_tenant_flows" "statistics_progress" "import_errors" "import_chunks"
    "webhook_deliveries" "webhook_cursors" "webhook_events" "imports" "reservations" "erasures" "webhooks"
];

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    format: String,
    /// The number of the last migration of the database, which must be that of the other one.
    migration: i64,
    /// The release of the program that wrote the file.
    release: String,
    exported_at: DateTime<Utc>,
    tenant: TenantRow,
}

/// A copy that was made.
#[derive(Debug, Serialize)]
pub(crate) struct Copied {
    pub tenant: Tenant,
    pub rows: u64,
}

/// Errors of a copy.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("the tenant does not exist")]
    NotFound,
    #[error("the tenant is being deleted")]
    Deleting,
    #[error("the database has this tenant already")]
    Exists,
    #[error(
        "the file is of a database with migration {file}, and this one has migration {database}; use the release {release} of \
         couponry with both"
    )]
    OtherMigration {
        file: i64,
        database: i64,
        release: String,
    },
    #[error("the file is not an export of a tenant, or is not complete")]
    Format,
    #[error("the file cannot be read or written")]
    File(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes a tenant, as of one moment. `progress` is called with the name and the number of rows of each table.
pub(crate) async fn export(
    database: &Database,
    id: Uuid,
    out: &mut impl Write,
    mut progress: impl FnMut(&str, u64),
) -> Result<Copied, TransferError> {
    let (found, migration) = database
        .with_system(async |connection| {
            let found = db::find_row(connection, id).await?;
            Ok::<_, sqlx::Error>((found, db::migration(connection).await?))
        })
        .await?;
    let (number, tenant) = found.ok_or(TransferError::NotFound)?;
    if tenant.state == TenantState::Deleting {
        return Err(TransferError::Deleting);
    }
    let header = Header {
        format: FORMAT.to_owned(),
        migration,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        exported_at: Utc::now(),
        tenant,
    };
    serde_json::to_writer(&mut *out, &header).map_err(io::Error::from)?;
    out.write_all(b"\n")?;

    let mut transaction = database.task_snapshot(number).await?;
    let mut total = 0;
    for table in TABLES {
        writeln!(out, "{}", table.name)?;
        let mut rows = 0;
        let mut chunks = transaction.copy_out_raw(table.read).await?;
        while let Some(chunk) = chunks.try_next().await? {
            // Line breaks in values are escaped.
            rows += chunk
                .iter()
                .map(|byte| u64::from(*byte == b'\n'))
                .sum::<u64>();
            out.write_all(&chunk)?;
        }
        writeln!(out, "{TABLE_END}")?;
        progress(table.name, rows);
        total += rows;
    }
    writeln!(out, "{FILE_END}")?;
    Ok(Copied {
        tenant: header.tenant.into(),
        rows: total,
    })
}

/// Creates a tenant from a file, in one transaction. `progress` is called with the name and the number of rows of each table.
pub(crate) async fn import(
    database: &Database,
    input: &mut impl BufRead,
    mut progress: impl FnMut(&str, u64),
) -> Result<Copied, TransferError> {
    let line = read_line(input)?;
    let header: Header = serde_json::from_str(&line).map_err(|_| TransferError::Format)?;
    if header.format != FORMAT {
        return Err(TransferError::Format);
    }
    let mut transaction = database.system_task().await?;
    let migration = db::migration(&mut transaction).await?;
    if header.migration != migration {
        return Err(TransferError::OtherMigration {
            file: header.migration,
            database: migration,
            release: header.release,
        });
    }
    db::lock_copy(&mut transaction, header.tenant.id).await?;
    if db::find(&mut transaction, header.tenant.id)
        .await?
        .is_some()
    {
        return Err(TransferError::Exists);
    }
    let number = db::copy(&mut transaction, &header.tenant).await?;
    let mut total = 0;
    for table in TABLES {
        if read_line(input)? != table.name {
            return Err(TransferError::Format);
        }
        db::begin_table(&mut transaction, number, table.name).await?;
        send_rows(&mut transaction, input).await?;
        let rows = db::end_table(&mut transaction, number, table.name).await?;
        let rows = u64::try_from(rows).unwrap_or_default();
        progress(table.name, rows);
        total += rows;
    }
    if read_line(input)? != FILE_END {
        return Err(TransferError::Format);
    }
    transaction.commit().await?;
    Ok(Copied {
        tenant: header.tenant.into(),
        rows: total,
    })
}

/// Sends the rows of a table to the temporary table `staged`.
async fn send_rows(
    connection: &mut PgConnection,
    input: &mut impl BufRead,
) -> Result<(), TransferError> {
    let mut copy = connection.copy_in_raw("copy staged from stdin").await?;
    let mut rows = Vec::new();
    loop {
        let start = rows.len();
        input.read_until(b'\n', &mut rows)?;
        let line = &rows[start..];
        if !line.ends_with(b"\n") {
            copy.abort("the file is not complete").await?;
            return Err(TransferError::Format);
        }
        let is_end = &line[..line.len() - 1] == TABLE_END.as_bytes();
        if is_end {
            rows.truncate(start);
        }
        if is_end || rows.len() >= SEND_SIZE {
            copy.send(&rows[..]).await?;
            rows.clear();
        }
        if is_end {
            copy.finish().await?;
            return Ok(());
        }
    }
}

/// Reads a line without its end.
fn read_line(input: &mut impl BufRead) -> Result<String, TransferError> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(TransferError::Format),
    }
}
