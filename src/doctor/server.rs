//! Faults of the PostgreSQL server and of the way to it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Executor};

use super::db::{self, Server};
use super::{BEGIN, Finding, Severity, connect};
use crate::database::has_code;

/// The oldest supported version, as in `server_version_num`.
const OLDEST_VERSION: i32 = 150_000;
/// The largest tolerated difference of the clocks.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(2);

/// Warns if the connection to another machine is not always encrypted.
pub(super) fn tls(options: &PgConnectOptions) -> Option<Finding> {
    let host = options.get_host();
    let is_local = options.get_socket().is_some()
        || ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&host);
    let is_optional = matches!(
        options.get_ssl_mode(),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer
    );
    (is_optional && !is_local).then(|| {
        Finding::warning(
            "tls",
            format!("The connection to {host} need not be encrypted."),
            "Codes, contact ids and the password may be read or changed on the network.",
            "Add `sslmode=verify-full&sslrootcert=FILE` to DATABASE_URL, with the certificate of the authority in FILE.",
        )
    })
}

/// Checks that a transaction keeps its settings, and finds poolers that share connections between transactions.
///
/// `is_expected`: the service is told of a pooler that does not know of prepared statements.
pub(super) async fn pooling(
    options: &PgConnectOptions,
    is_expected: bool,
) -> sqlx::Result<Option<Finding>> {
    const CHECK: &str = "pooler";
    let note = |why| {
        let what = "A pooler in transaction mode is in between.";
        Finding::new(CHECK, Severity::Note, what, why, "Nothing to do.")
    };
    let mut first = connect(options).await?;
    if !keeps_transactions(&mut first).await? {
        return Ok(Some(Finding::fault(
            CHECK,
            "The connection does not keep a transaction: a pooler in statement mode is in between.",
            "Each transaction of the service sets its role, tenant and time limits first.",
            "Set `pool_mode = transaction` or `session` in the pooler.",
        )));
    }
    // A setting of this session is seen in another one only if a pooler gave it the same connection.
    first.execute("set couponry.doctor = 'seen'").await?;
    let mut second = connect(options).await?;
    let mut transaction = second.begin().await?;
    let seen = db::sees_setting(&mut transaction).await;
    transaction.rollback().await?;
    for mut connection in [first, second] {
        connection.execute("set couponry.doctor = ''").await?;
        connection.close().await?;
    }
    match seen {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(note("It passes prepared statements on."))),
        // The statement of the first session has the same name.
        Err(error) if has_code(&error, &["42P05"]) && is_expected => Ok(Some(note(
            "It does not know of prepared statements, as COUPONRY_POOLER says.",
        ))),
        Err(error) if has_code(&error, &["42P05"]) => Ok(Some(Finding::fault(
            CHECK,
            "A pooler in transaction mode is in between, and does not know of prepared statements.",
            "Statements fail when sessions meet on a connection.",
            "Set COUPONRY_POOLER=true, or use PgBouncer 1.21 or later with `max_prepared_statements = 200`.",
        ))),
        Err(error) => Err(error),
    }
}

async fn keeps_transactions(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let mut transaction = match connection.begin_with(BEGIN).await {
        Ok(transaction) => transaction,
        Err(sqlx::Error::Database(_) | sqlx::Error::BeginFailed) => return Ok(false),
        Err(error) => return Err(error),
    };
    transaction
        .execute("set local couponry.doctor = 'seen'")
        .await?;
    let is_kept = db::sees_setting(&mut transaction).await?;
    transaction.rollback().await?;
    Ok(is_kept)
}

/// Checks the version of the server. An older one is not examined any further.
pub(super) async fn version(connection: &mut PgConnection) -> sqlx::Result<Option<Finding>> {
    Ok(too_old(db::version(connection).await?))
}

fn too_old(version: i32) -> Option<Finding> {
    (version < OLDEST_VERSION).then(|| {
        Finding::fault(
            "version",
            format!(
                "PostgreSQL {} is too old: 15 or newer is required.",
                version / 10_000
            ),
            "The migrations and functions use what older versions do not have.",
            "Upgrade the server with pg_upgrade.",
        )
    })
}

pub(super) fn encoding(server: &Server) -> Option<Finding> {
    (server.encoding != "UTF8").then(|| {
        Finding::fault(
            "encoding",
            format!("The encoding of the database is {}, not UTF8.", server.encoding),
            "Codes and names with other characters are rejected or compared wrongly.",
            "Create another database with `createdb --template=template0 --encoding=UTF8`, and restore a dump into it.",
        )
    })
}

/// Compares the version of the collation with that of the indexes.
pub(super) fn collation(server: &Server) -> Option<Finding> {
    let recorded = server.collation_version.as_ref()?;
    let current = server.current_collation_version.as_ref();
    (Some(recorded) != current).then(|| {
        let (database, current) = (&server.database, current.map_or("none", String::as_str));
        Finding::fault(
            "collation",
            format!("The database was built with version {recorded} of its collation. The operating system has {current}."),
            "Indexes on text may miss rows, so that a name or an id is stored twice.",
            format!("reindex database {database}; alter database {database} refresh collation version;"),
        )
    })
}

pub(super) fn read_only(server: &Server) -> Option<Finding> {
    if server.is_standby {
        return Some(Finding::fault(
            "read-only",
            "The server is a standby.",
            "Nothing can be assigned. The service is not ready.",
            "Point DATABASE_URL to the primary server, or promote this one with `select pg_promote();`.",
        ));
    }
    server.is_read_only.then(|| {
        let (database, login) = (&server.database, &server.login);
        Finding::fault(
            "read-only",
            "Transactions are read-only by default (default_transaction_read_only).",
            "Nothing can be assigned. The service is not ready.",
            format!(
                "set default_transaction_read_only = off; \
                 alter database {database} reset default_transaction_read_only; \
                 alter role {login} reset default_transaction_read_only;"
            ),
        )
    })
}

pub(super) fn login(server: &Server) -> Option<Finding> {
    let login = &server.login;
    (server.is_superuser || server.bypasses_row_security).then(|| {
        let power = if server.is_superuser {
            "is a superuser"
        } else {
            "bypasses row level security"
        };
        Finding::warning(
            "login",
            format!("The user {login} {power}."),
            "The service takes other roles for its transactions. A leaked DATABASE_URL gives access to everything.",
            format!("Use a login of its own, or: alter role {login} nosuperuser nobypassrls;"),
        )
    })
}

/// Compares the connections that a replica may open with those that the server allows.
pub(super) fn connections(server: &Server, needed: u32) -> Option<Finding> {
    let allowed = server.allowed_connections;
    (i64::from(needed) > i64::from(allowed)).then(|| {
        Finding::fault(
            "connections",
            format!("A replica may open {needed} connections. The server allows {allowed}."),
            "Under load, requests fail with a 503.",
            format!(
                "alter system set max_connections = {}; restart the server, raise the connection limit of the database and the \
                 user, or lower COUPONRY_REQUEST_CONNECTIONS.",
                needed + 20
            ),
        )
    })
}

/// Compares the clock of this machine with that of the server.
pub(super) async fn clock(connection: &mut PgConnection) -> sqlx::Result<Option<Finding>> {
    let before = Utc::now();
    let server = db::time(connection).await?;
    let after = Utc::now();
    let skew = skew(before, server, after);
    Ok((skew > MAX_SKEW).then(|| {
        Finding::fault(
            "clock",
            format!(
                "The clocks of this machine and of the server differ by at least {} s.",
                skew.num_seconds()
            ),
            "Signatures of webhooks are rejected by receivers, and logs do not match the data.",
            "Synchronize both clocks, for example with `timedatectl set-ntp true`.",
        )
    }))
}

/// The least possible difference from a clock that was read between two moments.
fn skew(before: DateTime<Utc>, server: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    (before - server).max(server - after).max(TimeDelta::zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_15_is_too_old() {
        assert!(too_old(140_018).is_some_and(|finding| finding.what.contains("PostgreSQL 14")));
        assert_eq!(too_old(150_000), None);
        assert_eq!(too_old(180_001), None);
    }

    #[test]
    fn a_slow_answer_is_no_skew() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let skewed = |server| skew(at(0), at(server), at(5)).num_seconds();
        assert_eq!([skewed(0), skewed(3), skewed(5)], [0, 0, 0]);
        assert_eq!([skewed(-3), skewed(9)], [3, 4]);
    }

    #[test]
    fn only_an_optional_encryption_over_a_network_is_reported() {
        for (url, expected) in [
            ("postgres://u@db.example.com/c", true),
            ("postgres://u@db.example.com/c?sslmode=disable", true),
            ("postgres://u@db.example.com/c?sslmode=verify-full", false),
            ("postgres://u@localhost/c", false),
            ("postgres://u@localhost/c?host=/run/postgresql", false),
        ] {
            let options: PgConnectOptions = url.parse().unwrap();
            assert_eq!(tls(&options).is_some(), expected, "{url}");
        }
    }
}
