//! The command `couponry tenant`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::{Error, PAGE_ROWS, print, with_database};
use crate::config::Config;
use crate::database::Database;
use crate::http;
use crate::http::extract::read;
use crate::tenants::deletion::{Deletion, Step};
use crate::tenants::transfer::{self, Copied, TransferError};
use crate::tenants::{NewTenant, Tenant, TenantPatch, TenantState, operator};

/// Pause of a deletion that has to wait.
const PAUSE: Duration = Duration::from_secs(1);

/// The operation on tenants.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Create a tenant.
    Create {
        /// The name, 1 to 200 characters.
        name: String,
    },
    /// List all tenants.
    List,
    /// Suspend a tenant: all of its keys are rejected, its data is kept.
    Suspend {
        /// The id of the tenant.
        id: Uuid,
    },
    /// Resume a suspended tenant.
    Resume {
        /// The id of the tenant.
        id: Uuid,
    },
    /// Change the name of a tenant.
    Rename {
        /// The id of the tenant.
        id: Uuid,
        /// The new name, 1 to 200 characters.
        name: String,
    },
    /// Delete a tenant with all of its data. A deletion that was interrupted continues.
    Delete {
        /// The id of the tenant.
        id: Uuid,
        /// The name of the tenant, as a confirmation.
        #[arg(long, value_name = "NAME")]
        yes_i_mean: String,
    },
    /// Write a tenant with all of its data to a file, as of one moment.
    Export {
        /// The id of the tenant.
        id: Uuid,
        /// The file to create. It must not exist.
        #[arg(long)]
        output: PathBuf,
    },
    /// Create a tenant from a file that `export` has written, in a database of the same release.
    Import {
        /// The file to read.
        file: PathBuf,
    },
}

/// Runs the operation and prints its result.
pub async fn run(arguments: &Arguments, config: &Config) -> Result<(), Error> {
    let json = arguments.json;
    with_database(config, async |database| match &arguments.command {
        Command::Create { name } => {
            let new = read(json!({"name": name})).map_err(http::error::Error::Invalid)?;
            let tenant = create(database, &new).await?;
            print(json, &tenant, line(&tenant))
        }
        Command::List => {
            let tenants = list(database).await?;
            let mut text = String::new();
            for tenant in &tenants {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{}", line(tenant));
            }
            print(json, &tenants, text)
        }
        Command::Suspend { id } => {
            let tenant = set_state(database, *id, TenantState::Suspended).await?;
            print(json, &tenant, line(&tenant))
        }
        Command::Resume { id } => {
            let tenant = set_state(database, *id, TenantState::Active).await?;
            print(json, &tenant, line(&tenant))
        }
        Command::Rename { id, name } => {
            let patch = read(json!({"name": name})).map_err(http::error::Error::Invalid)?;
            let tenant = rename(database, *id, &patch).await?;
            print(json, &tenant, line(&tenant))
        }
        Command::Delete { id, yes_i_mean } => {
            let (tenant, rows) = delete(database, *id, yes_i_mean).await?;
            let text = format!("Deleted {} with {rows} rows.", tenant.name);
            print(
                json,
                &json!({"id": tenant.id, "name": tenant.name, "rows": rows}),
                text,
            )
        }
        Command::Export { id, output } => {
            let copied = export(database, *id, output).await?;
            let text = format!("Exported {} with {} rows.", copied.tenant.name, copied.rows);
            print(json, &copied, text)
        }
        Command::Import { file } => {
            let copied = import(database, file).await?;
            let text = format!("Imported {} with {} rows.", copied.tenant.name, copied.rows);
            print(json, &copied, text)
        }
    })
    .await
}

/// The id, the state and the name of a tenant.
fn line(tenant: &Tenant) -> String {
    format!(
        "{}  {:<9}  {}",
        tenant.id,
        tenant.state.as_str(),
        tenant.name
    )
}

async fn create(database: &Database, new: &NewTenant) -> Result<Tenant, Error> {
    let tenant = database
        .with_system(async |connection| operator::create(connection, new).await)
        .await?;
    Ok(tenant)
}

async fn list(database: &Database) -> Result<Vec<Tenant>, Error> {
    let mut tenants: Vec<Tenant> = Vec::new();
    loop {
        let after = tenants.last().map(|tenant| tenant.id);
        let page = database
            .with_system(async |connection| {
                operator::list(connection, after, false, PAGE_ROWS).await
            })
            .await?;
        if page.is_empty() {
            return Ok(tenants);
        }
        tenants.extend(page);
    }
}

async fn set_state(database: &Database, id: Uuid, state: TenantState) -> Result<Tenant, Error> {
    let tenant = database
        .with_system(async |connection| operator::set_state(connection, id, state).await)
        .await?;
    Ok(tenant)
}

async fn rename(database: &Database, id: Uuid, patch: &TenantPatch) -> Result<Tenant, Error> {
    let tenant = database
        .with_system(async |connection| operator::patch(connection, id, patch).await)
        .await?;
    Ok(tenant)
}

/// Deletes a tenant, and reports the progress on standard error. Returns the number of deleted rows.
async fn delete(database: &Database, id: Uuid, name: &str) -> Result<(Tenant, i64), Error> {
    let (number, tenant) = database
        .with_system(async |connection| {
            let number = operator::find(connection, id).await?;
            let tenant = operator::delete(connection, id).await?;
            if tenant.name != name {
                // The transaction is rolled back.
                return Err(Error::OtherName(tenant.name));
            }
            Ok((number, tenant))
        })
        .await?;
    let mut deletion = Deletion::of(number);
    let mut rows = 0;
    let mut is_waiting = false;
    loop {
        match deletion.step(database).await? {
            Step::Rows(count) => {
                rows += i64::from(count);
                is_waiting = false;
                eprintln!("{rows} rows deleted");
            }
            Step::Waiting => {
                if !is_waiting {
                    eprintln!(
                        "waiting for requests that are under way, or for a replica that deletes rows too"
                    );
                }
                is_waiting = true;
                tokio::time::sleep(PAUSE).await;
            }
            Step::Deleted => return Ok((tenant, rows)),
        }
    }
}

/// Writes a tenant to a file that only its owner can read, because it contains the ids of contacts and the secrets of webhooks. The file
/// has its name once it is complete.
async fn export(database: &Database, id: Uuid, output: &Path) -> Result<Copied, Error> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if output.exists() {
        return Err(TransferError::File(io::ErrorKind::AlreadyExists.into()).into());
    }
    let file = NamedTempFile::new_in(folder).map_err(TransferError::File)?;
    let mut packed = GzEncoder::new(BufWriter::new(file), Compression::fast());
    let copied = transfer::export(database, id, &mut packed, report).await?;
    let close = move || -> io::Result<()> {
        let file = packed.finish()?.into_inner()?;
        file.as_file().sync_all()?;
        file.persist_noclobber(output)?;
        Ok(())
    };
    close().map_err(TransferError::File)?;
    Ok(copied)
}

async fn import(database: &Database, path: &Path) -> Result<Copied, Error> {
    let file = File::open(path).map_err(TransferError::File)?;
    let mut unpacked = BufReader::new(GzDecoder::new(BufReader::new(file)));
    Ok(transfer::import(database, &mut unpacked, report).await?)
}

/// Reports the progress of a copy on standard error.
fn report(table: &str, rows: u64) {
    if rows > 0 {
        eprintln!("{table}: {rows} rows");
    }
}
