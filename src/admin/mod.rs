//! Commands that act on the database directly, whether the service runs or not. They use the operations of the API, so they
//! check and refuse the same.

pub mod apply;
pub mod key;
pub mod tenant;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use embedded_postgres::PostgresServer;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;

use crate::config::Config;
use crate::database::{Database, is_undefined};
use crate::tenants::transfer::TransferError;
use crate::{http, start};

/// Tenants or keys in one statement of a list.
const PAGE_ROWS: i64 = 1000;

/// Errors of the commands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused by an operation of the API, in its words.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Transfer(TransferError),
    #[error("the tenant has another name: {0}")]
    OtherName(String),
    #[error(
        "{} has no database yet: set DATABASE_URL, or start `couponry` once without it",
        .0.display()
    )]
    NoDatabase(PathBuf),
    #[error("the database has not the tables of this version; run `couponry migrate`")]
    NotMigrated,
    #[error("the database cannot be used")]
    Database(#[source] sqlx::Error),
    #[error(transparent)]
    Start(#[from] start::Error),
    #[error("{} cannot be read", .1.display())]
    Read(#[source] io::Error, PathBuf),
    #[error("the result cannot be written")]
    Output(#[source] io::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_undefined(&error) {
            Self::NotMigrated
        } else {
            Self::Database(error)
        }
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Database(error) => error.into(),
            error => Self::Transfer(error),
        }
    }
}

impl From<http::error::Error> for Error {
    fn from(error: http::error::Error) -> Self {
        match error {
            http::error::Error::Database(error) => error.into(),
            error => Self::Refused(error.explanation()),
        }
    }
}

/// The database of a command.
pub(crate) struct Target {
    pub options: PgConnectOptions,
    /// The embedded server, if this command started it.
    server: Option<PostgresServer>,
}

impl Target {
    /// Uses `DATABASE_URL`. Without it, uses the embedded PostgreSQL in the data folder: that of a running service, or one that
    /// runs as long as this command.
    pub(crate) async fn open(config: &Config) -> Result<Self, Error> {
        if let Some(url) = &config.database_url {
            let options = start::parse_url("DATABASE_URL", url)?;
            return Ok(Self {
                options,
                server: None,
            });
        }
        if config.require_database_url {
            return Err(start::Error::DatabaseUrlMissing.into());
        }
        let folder = config.data_dir.join("pg");
        if !embedded_postgres::holds_cluster(&folder) {
            return Err(Error::NoDatabase(config.data_dir.clone()));
        }
        if let Some(options) = embedded_postgres::running(&folder, "postgres") {
            return Ok(Self {
                options,
                server: None,
            });
        }
        let server = start::start_embedded(config).await?;
        Ok(Self {
            options: server.connect_options("postgres"),
            server: Some(server),
        })
    }

    /// The database. Connections are opened when they are needed.
    pub(crate) fn database(&self, config: &Config) -> Database {
        Database::new(&self.options, config.request_connections, config.pooler)
    }

    /// Stops the server that this command started.
    pub(crate) async fn close(self) -> Result<(), Error> {
        if let Some(server) = self.server {
            tokio::task::spawn_blocking(move || server.stop())
                .await
                .map_err(|error| start::Error::System(io::Error::other(error)))?;
        }
        Ok(())
    }
}

/// Runs `run` with the database.
pub(crate) async fn with_database<T>(
    config: &Config,
    run: impl AsyncFnOnce(&Database) -> Result<T, Error>,
) -> Result<T, Error> {
    let target = Target::open(config).await?;
    let database = target.database(config);
    let done = run(&database).await;
    database.close().await;
    target.close().await?;
    done
}

/// Prints a result to standard output: as JSON, or as text.
pub(crate) fn print(
    json: bool,
    document: &impl Serialize,
    text: impl Display,
) -> Result<(), Error> {
    let text = if json {
        serde_json::to_string(document).expect("a result is plain data")
    } else {
        text.to_string()
    };
    let mut out = io::stdout().lock();
    out.write_all(text.trim_end().as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}
