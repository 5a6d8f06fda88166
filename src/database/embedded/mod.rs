//! A private PostgreSQL for those who have set up no other: the system's programs on a folder of ours.
//!
//! It listens on a Unix socket in a closed folder only, and it ends when this process ends, even by kill -9. The server inherits the
//! descriptor of a lock file as its standard input, so a free lock means that no server is left, not even an orphaned backend of one.
//! A thread supervises it for as long as it is wanted, and starts it again at the same socket if it dies.
//!
//! One gap is left: a process that ignores SIGINT (`command &` in a script) and is killed within the few milliseconds in which its
//! server replaces `sh` leaves that server running.

mod binaries;
mod folder;
mod server;

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

use binaries::Programs;
use server::Server;

/// The pause between two looks at something that takes milliseconds.
const GLANCE: Duration = Duration::from_millis(5);

/// Where the server lives and how it runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that holds the cluster `data`, the sockets `s`, the `lock` and the `log`; made if it is missing.
    pub dir: PathBuf,
    /// The folder of PostgreSQL's programs, if they are not to be searched for.
    pub bin_dir: Option<PathBuf>,
    /// The `PATH` to search for the programs before the places where systems keep them.
    pub path: Option<OsString>,
    /// Whether data survive a power failure; false only for tests, which are faster without.
    pub durable: bool,
    /// How long to wait for a previous server in this folder to end.
    pub wait: Duration,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no PostgreSQL.
    #[error(
        "no PostgreSQL found: install it with `apt-get install postgresql` (macOS: `brew install postgresql@17`), or set DATABASE_URL to a running server"
    )]
    NoBinaries,
    /// The folder named for the programs does not hold them.
    #[error("{} does not contain the PostgreSQL programs `postgres` and `initdb`", .0.display())]
    NotBinaries(PathBuf),
    /// Root found nobody to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root, and no other user can access {}: run couponry as another user, or set DATABASE_URL",
        .0.display()
    )]
    NoAccount(PathBuf),
    /// Another process runs a server in the folder.
    #[error("{} is in use by another running PostgreSQL", .0.display())]
    InUse(PathBuf),
    /// The folder for the sockets belongs to someone else.
    #[error("{} belongs to another user and cannot be used for PostgreSQL's sockets", .0.display())]
    SocketDir(PathBuf),
    /// A file or folder could not be used.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The cluster could not be made; holds what `initdb` said.
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
pub struct Embedded {
    socket_dir: PathBuf,
    pid: Arc<AtomicU32>,
    /// Never sent on: that it is dropped tells the supervisor to stop.
    wanted: Option<Sender<()>>,
    supervisor: Option<JoinHandle<()>>,
}

/// Starts the server, makes its cluster first if there is none, and blocks until it takes connections.
pub fn start(options: &Options) -> Result<Embedded, Error> {
    let version = fs::read_to_string(options.dir.join("data/PG_VERSION")).ok();
    let version = version.as_deref().and_then(binaries::major);
    let bin = binaries::find(options.bin_dir.as_deref(), options.path.as_deref(), version)?;

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

    Server {
        programs,
        data,
        socket_dir,
        log,
        lock,
        durable: options.durable,
    }
    .supervised()
}

impl Embedded {
    /// How to connect to a database of the server as its superuser; nothing of it comes from a password file.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(5432)
            .username("postgres")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The folder of the server's socket, the same for as long as this lives.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The process of the server, or of the last one while a new one is being started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Ends all connections and stops the server; blocks until it is gone.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(supervisor) = self.supervisor.take()
            && supervisor.join().is_err()
        {
            tracing::error!("the supervisor of PostgreSQL panicked");
        }
    }
}
