//! A private PostgreSQL server that lives exactly as long as the process that starts it.
//!
//! It runs the PostgreSQL programs of the system on a folder of the caller. It listens only on a Unix socket in a private
//! folder, and it ends when the process ends, even by SIGKILL. The server inherits the descriptor of a lock file as its
//! standard input, so a free lock means that no server is left, not even an orphaned backend of one. A supervisor thread
//! restarts the server at the same socket if it dies.
//!
//! One gap is left: if the process ignores SIGINT (`command &` in a script) and is killed within the few milliseconds in
//! which its server replaces `sh`, that server keeps running.

mod folder;
mod programs;
mod supervisor;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use programs::Programs;
use supervisor::Supervisor;

/// Polling interval for events that take milliseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Location and mode of the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that holds the cluster `data`, the sockets `s`, the `lock` and the `log`; created if it is missing.
    pub dir: PathBuf,
    /// The folder of PostgreSQL's programs; `None` searches for it.
    pub bin_dir: Option<PathBuf>,
    /// The `PATH` that is searched for the programs before the usual folders of the system.
    pub path: Option<OsString>,
    /// Makes data survive a power failure. Tests set it to false, which is faster.
    pub durable: bool,
    /// Time to wait for a previous server in this folder to end.
    pub wait: Duration,
}

/// Reasons for a server that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no PostgreSQL.
    #[error(
        "no PostgreSQL found: install it with `apt-get install postgresql` (macOS: `brew install postgresql@17`)"
    )]
    NoBinaries,
    /// The folder given as `bin_dir` does not hold the programs.
    #[error("{} does not contain the PostgreSQL programs `postgres` and `initdb`", .0.display())]
    NotBinaries(PathBuf),
    /// The process runs as root, and there is no other account that PostgreSQL could run as.
    #[error(
        "PostgreSQL does not run as root, and no other user can access {}: run this as another user",
        .0.display()
    )]
    NoAccount(PathBuf),
    /// Another process runs a server in the folder.
    #[error("{} is in use by another running PostgreSQL", .0.display())]
    InUse(PathBuf),
    /// The folder for the sockets belongs to another user.
    #[error("{} belongs to another user and cannot be used for PostgreSQL's sockets", .0.display())]
    SocketDir(PathBuf),
    /// An operation on a file or folder failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// `initdb` failed; holds its error output.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// The server ended before it was ready; holds the end of its log.
    #[error("PostgreSQL did not start: {0}")]
    Ended(String),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// A running server, which stops when this is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    socket_dir: PathBuf,
    pid: Arc<AtomicU32>,
    /// Nothing is ever sent: dropping it makes the supervisor stop the server.
    stop_signal: Option<Sender<()>>,
    supervisor: Option<JoinHandle<()>>,
}

/// Starts the server, after creating its cluster if there is none, and blocks until it accepts connections.
pub fn start(options: &Options) -> Result<PostgresServer, Error> {
    let version = fs::read_to_string(options.dir.join("data/PG_VERSION")).ok();
    let version = version.as_deref().and_then(programs::major);
    let bin = programs::find(options.bin_dir.as_deref(), options.path.as_deref(), version)?;

    let dir = folder::create(&options.dir)?;
    let lock = folder::lock(&dir, options.wait)?;
    let data = dir.join("data");
    let programs = Programs::choose(bin, &dir, &data)?;
    if !folder::holds_cluster(&data)? {
        folder::initialise(&programs, &dir, &lock, options)?;
    }
    let socket_dir = folder::socket_dir(&dir, &programs)?;
    folder::clear_leftovers(&data, &socket_dir)?;
    let log = dir.join("log");
    folder::shorten(&log).map_err(failed("shorten", &log))?;

    Supervisor {
        programs,
        data,
        socket_dir,
        log,
        lock,
        durable: options.durable,
    }
    .start()
}

/// Returns true if the folder holds a cluster, running or not.
#[must_use]
pub fn holds_cluster(dir: &Path) -> bool {
    folder::holds_cluster(&dir.join("data")).unwrap_or(false)
}

/// Options to connect to the server that another process runs in the folder, as its superuser. Returns `None` if none accepts
/// connections.
#[must_use]
pub fn running(dir: &Path, database: &str) -> Option<PgConnectOptions> {
    let dir = dir.canonicalize().ok()?;
    let (_, is_ready) = folder::postmaster(&dir.join("data/postmaster.pid"))?;
    let is_locked = folder::lock(&dir, Duration::ZERO).is_err();
    (is_ready && is_locked).then(|| connect_options(&folder::socket_path(&dir), database))
}

fn connect_options(socket_dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(5432)
        .username("postgres")
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

impl PostgresServer {
    /// Options to connect to a database of the server as its superuser; no password file is read.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        connect_options(&self.socket_dir, database)
    }

    /// The folder of the server's socket. It stays the same when the server is restarted.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The process id of the server, or of the previous one while a new one starts.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Closes all connections and stops the server; blocks until it has ended.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop_signal = None;
        if let Some(supervisor) = self.supervisor.take()
            && supervisor.join().is_err()
        {
            tracing::error!("the supervisor of PostgreSQL panicked");
        }
    }
}
