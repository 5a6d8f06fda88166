//! Errors of the database by what a caller can do about them.

/// Whether a statement may succeed when it is sent again. Its outcome is unknown, or it was never sent: the connection
/// broke, the server is starting or stopping or has cancelled the statement (57…), it rolled back one of two transactions
/// that blocked each other (40001, 40P01), or a lock or a transaction took too long (55P03, 25P03). 53…: no space on the
/// disk or no free connection. 25006: a server that has become a read-only standby.
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
