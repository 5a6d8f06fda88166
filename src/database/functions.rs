//! The functions and views of the database: source code, one object per file in `src/<feature>/sql`, edited in place.
//!
//! They are applied after the migrations and under the same lock, if the stored checksum differs from that of the
//! embedded files. All are applied in one transaction, so that no caller sees a mixture. A release never replaces the
//! functions of a later one, so an older replica that restarts during a rolling upgrade leaves them unchanged.

use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};

use super::migrate::MIGRATIONS;

/// An embedded file: one function with its triggers, or one view with its grants.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// From the root of the repository: `src/<feature>/sql/<name>.sql`.
    pub path: &'static str,
    pub text: &'static str,
}

/// All files, in the order in which they are applied.
pub static FILES: &[File] = &include!(concat!(env!("OUT_DIR"), "/sql_files.rs"));

/// Returns the SHA-256 of all files.
#[must_use]
pub fn checksum() -> [u8; 32] {
    let mut hash = Sha256::new();
    for file in FILES {
        // The lengths keep different sets of files from having the same concatenation.
        hash.update(file.text.len().to_le_bytes());
        hash.update(file.text);
    }
    hash.finalize().into()
}

/// The oldest release whose replicas work with the functions and tables of this one. A release that drops what an earlier one
/// calls raises it.
const MIN_RELEASE: [i32; 3] = [0, 1, 0];

/// Returns the major, minor and patch number of this program. Releases are ordered by them.
pub(crate) fn release() -> Vec<i32> {
    [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ]
    .map(|number| number.parse().expect("cargo checks the version"))
    .to_vec()
}

/// Returns the number of the last migration of this program.
pub(crate) fn newest_migration() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().expect("there are migrations")
}

/// Applies the files unless these files, or those of a later release, are already applied. The caller must hold the lock
/// of the migrations.
pub(super) async fn apply(connection: &mut PgConnection) -> sqlx::Result<()> {
    let checksum = checksum();
    let release = release();
    let migration = newest_migration();
    let applied = sqlx::query!("select checksum, release, migration from applied_functions")
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(applied) = applied {
        if applied.checksum == checksum
            && applied.release >= release
            && applied.migration >= migration
        {
            return Ok(());
        }
        if applied.release > release {
            tracing::warn!(
                applied = ?applied.release,
                "the functions in the database are those of a later release and stay as they are"
            );
            return Ok(());
        }
    }

    let mut transaction = connection.begin().await?;
    // Functions may refer to each other and to views in any order. Triggers lock their tables: rather than make the requests
    // of other replicas wait behind a long transaction, the start fails with an error that it retries.
    transaction
        .execute("set local check_function_bodies = off; set local lock_timeout = '1s'")
        .await?;
    for file in FILES {
        transaction.execute(file.text).await?;
    }
    sqlx::query!(
        "insert into applied_functions (checksum, release, min_release, migration)
         values ($1, $2, $3, $4)
         on conflict (only_row) do update
            set checksum = excluded.checksum, release = excluded.release, min_release = excluded.min_release,
                migration = excluded.migration, applied_at = now()",
        &checksum[..],
        &release,
        &MIN_RELEASE[..],
        migration,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
