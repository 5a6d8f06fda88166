//! The command `couponry key`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{Error, PAGE_ROWS, print, with_database};
use crate::config::Config;
use crate::database::Database;
use crate::http;
use crate::http::extract::read;
use crate::tenants::api_key::{ApiKey, GeneratedKey, IssuedApiKey, NewApiKey, hexadecimal};
use crate::tenants::operator;

/// The operation on API keys.
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
    /// Create a key and print it. It cannot be shown again.
    Create {
        /// The id of the tenant.
        #[arg(long)]
        tenant: Uuid,
        /// The name, 1 to 200 characters.
        #[arg(long)]
        name: String,
        /// Scopes separated by commas, such as `assignments:write,coupon-sets:read`; `*` stands for all.
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
    },
    /// List the keys of a tenant, also those that were revoked.
    List {
        /// The id of the tenant.
        #[arg(long)]
        tenant: Uuid,
    },
    /// Revoke a key.
    Revoke {
        /// The id of the tenant.
        #[arg(long)]
        tenant: Uuid,
        /// The id of the key.
        id: Uuid,
    },
    /// Generate a key for a file of `couponry apply`. Nothing is stored.
    Generate,
}

/// Runs the operation and prints its result.
pub async fn run(arguments: &Arguments, config: &Config) -> Result<(), Error> {
    let json = arguments.json;
    if let Command::Generate = arguments.command {
        let GeneratedKey {
            id,
            key,
            secret_hash,
        } = GeneratedKey::new();
        let secret_hash = hexadecimal(&secret_hash);
        let document = json!({"id": id, "key": key, "secretHash": secret_hash});
        let text = format!("key         {key}\nid          {id}\nsecretHash  {secret_hash}");
        return print(json, &document, text);
    }
    with_database(config, async |database| match &arguments.command {
        Command::Create {
            tenant,
            name,
            scopes,
        } => {
            let new = json!({"name": name, "scopes": scopes});
            let new = read(new).map_err(http::error::Error::Invalid)?;
            let issued = create(database, *tenant, new).await?;
            print(json, &issued, &issued.key)
        }
        Command::List { tenant } => {
            let keys = list(database, *tenant).await?;
            let mut text = String::new();
            for key in &keys {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{}", line(key));
            }
            print(json, &keys, text)
        }
        Command::Revoke { tenant, id } => {
            database
                .with_system(async |connection| {
                    operator::revoke_key(connection, *tenant, *id).await
                })
                .await?;
            print(json, &json!({"id": id}), format!("{id}  revoked"))
        }
        Command::Generate => Ok(()),
    })
    .await
}

/// The id, the state, the name and the scopes of a key.
fn line(key: &ApiKey) -> String {
    let state = if key.revoked_at.is_some() {
        "revoked"
    } else {
        "valid"
    };
    format!(
        "{}  {state:<7}  {}  {}",
        key.id,
        key.name,
        key.scopes.join(",")
    )
}

async fn create(database: &Database, tenant: Uuid, new: NewApiKey) -> Result<IssuedApiKey, Error> {
    let issued = database
        .with_system(async |connection| operator::create_key(connection, tenant, new).await)
        .await?;
    Ok(issued)
}

async fn list(database: &Database, tenant: Uuid) -> Result<Vec<ApiKey>, Error> {
    let mut keys: Vec<ApiKey> = Vec::new();
    loop {
        let after = keys.last().map(|key| key.id);
        let page = database
            .with_system(async |connection| {
                operator::list_keys(connection, tenant, after, false, PAGE_ROWS).await
            })
            .await?;
        if page.is_empty() {
            return Ok(keys);
        }
        keys.extend(page);
    }
}
