//! Errors of the database by what a caller can do about them.

use sqlx::error::DatabaseError;

/// Returns true if a retry of the statement may succeed. The statement was not executed, or its outcome is unknown:
///
/// * The connection broke (08…), or the server is starting or stopping or has cancelled the statement (57…).
/// * The server rolled back one of two transactions that blocked each other (40001, 40P01).
/// * A lock or a transaction exceeded its time limit (55P03, 25P03).
/// * The server has no disk space or no free connection (53…), or has become a read-only standby (25006).
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("57")
                || code.starts_with("53")
                || code.starts_with("08")
                || matches!(&*code, "25006" | "25P03" | "40001" | "40P01" | "55P03")
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// Returns true if the server has no disk space for the statement, which changed nothing.
pub(crate) fn is_disk_full(error: &sqlx::Error) -> bool {
    has_code(error, &["53100"])
}

/// Returns true if a statement names a table, a column or a function that the database does not have: its schema is not
/// that of this version.
pub(crate) fn is_undefined(error: &sqlx::Error) -> bool {
    has_code(error, &["42P01", "42703", "42883"])
}

/// Returns true if the error of a statement has one of these codes.
pub(crate) fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| codes.contains(&&*code))
}

/// Returns true if a connection failed by its TLS settings, so that a retry fails too: the server does not support TLS, or
/// its certificate is for another name, has expired, or is from an authority that is not trusted.
pub(crate) fn is_tls_refused(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => matches!(
            error.get_ref().and_then(|cause| cause.downcast_ref()),
            Some(rustls::Error::InvalidCertificate(_))
        ),
        _ => false,
    }
}
