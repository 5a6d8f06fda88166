//! The command `couponry tenant`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{Error, PAGE_ROWS, print, with_database};
use crate::config::Config;
use crate::database::Database;
use crate::http;
use crate::http::extract::read;
use crate::tenants::{NewTenant, Tenant, TenantPatch, TenantState, operator};

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
