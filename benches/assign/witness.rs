//! The cost of the witness. Its files are on the disk of the database.

use std::path::Path;

use couponry::database;
use embedded_postgres::PostgresServer;

use crate::support::Result;
use crate::support::replicas::{self, Replica};

/// Compares a replica that has a witness with one that has none.
pub async fn compare(postgresql: &PostgresServer, folder: &Path) -> Result<String> {
    let options = postgresql.connect_options("postgres");
    database::migrate(&options).await?;
    let folder = folder.join("witness");
    std::fs::create_dir(&folder)?;
    let path = folder.to_str().ok_or("the path is not text")?;
    let replicas = [
        Replica {
            name: "without witness",
            options: &options,
            settings: &[],
        },
        Replica {
            name: "with witness",
            options: &options,
            settings: &["--witness-dir", path],
        },
    ];
    replicas::compare(postgresql.pid(), replicas).await
}
