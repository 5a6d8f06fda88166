//! The folder of the server: its lock, its cluster, its sockets and its log.
//!
//! Every start can recover from any state that a kill or a power failure leaves here.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::programs::Programs;
use crate::{Error, Options, POLL_INTERVAL, failed};

/// Longest path of a folder of sockets, in bytes: the kernel's limit of 104 to 108 less the name of the socket.
const MAX_SOCKET_DIR_BYTES: usize = 88;
/// Size above which the log is emptied at the next start, in bytes.
const MAX_LOG_BYTES: u64 = 10_000_000;

/// Creates the folder if it is missing, and returns its path without symbolic links.
pub(crate) fn create(dir: &Path) -> Result<PathBuf, Error> {
    let created = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    created.map_err(failed("create", dir))?;
    dir.canonicalize().map_err(failed("resolve", dir))
}

/// Locks the folder. The server and its backends inherit the lock, so it is held until the last of them has ended.
pub(crate) fn lock(dir: &Path, wait: Duration) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(failed("open", &path))?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(Error::InUse(dir.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Returns true if there is a cluster.
pub(crate) fn holds_cluster(data: &Path) -> Result<bool, Error> {
    let version = data.join("PG_VERSION");
    version.try_exists().map_err(failed("read", &version))
}

/// Creates the cluster under a temporary name first, so that `data` is complete or missing even if this process is killed.
pub(crate) fn initialise(
    programs: &Programs,
    dir: &Path,
    lock: &File,
    options: &Options,
) -> Result<(), Error> {
    let new = dir.join("data.new");
    remove(&new, options.wait)?;
    private_folder(&new, programs).map_err(failed("create", &new))?;
    // The locale C sorts like C.UTF-8, but knows upper and lower case of ASCII only; some systems have no other.
    let outcome = initdb(programs, &new, lock, "--locale=C.UTF-8", options.durable);
    match outcome {
        Err(Error::Initdb(output)) if output.contains("locale") => {
            initdb(programs, &new, lock, "--locale=C", options.durable)?;
        }
        other => other?,
    }
    let data = dir.join("data");
    fs::rename(&new, &data).map_err(failed("create", &data))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("sync", dir))
}

/// Removes a cluster that an interrupted start left behind; its `initdb` may still be writing to it.
fn remove(path: &Path, wait: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + wait;
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(failed("remove", path)(error)),
            Err(_) => thread::sleep(POLL_INTERVAL),
        }
    }
}

fn initdb(
    programs: &Programs,
    data: &Path,
    lock: &File,
    locale: &str,
    durable: bool,
) -> Result<(), Error> {
    let mut command = programs.command("initdb");
    command.args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        locale,
        "--no-instructions",
        "-D",
    ]);
    command.arg(data);
    if !durable {
        command.arg("--no-sync");
    }
    let output = lock
        .try_clone()
        .and_then(|lock| command.stdin(lock).output());
    let output = output.map_err(failed("run initdb for", data))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Initdb(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

fn private_folder(path: &Path, programs: &Programs) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    programs.hand_over(path)
}

/// The folder of the sockets: in `dir`, or in `/tmp` if the path would be too long for a socket.
pub(crate) fn socket_path(dir: &Path) -> PathBuf {
    let path = dir.join("s");
    if path.as_os_str().len() <= MAX_SOCKET_DIR_BYTES {
        return path;
    }
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    PathBuf::from(format!("/tmp/embedded-postgres-{:016x}", hasher.finish()))
}

/// Creates the folder of the sockets.
pub(crate) fn socket_dir(dir: &Path, programs: &Programs) -> Result<PathBuf, Error> {
    let path = socket_path(dir);
    match private_folder(&path, programs) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => {
            return other
                .map(|()| path.clone())
                .map_err(failed("create", &path));
        }
    }
    // In /tmp, any user can create the folder or a link of its name, but cannot replace a folder of this user.
    let found = fs::symlink_metadata(&path).map_err(failed("read", &path))?;
    let ours = [programs.owner(), rustix::process::geteuid().as_raw()].contains(&found.uid());
    if !found.is_dir() || !ours {
        return Err(Error::SocketDir(path));
    }
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&path, private).map_err(failed("close", &path))?;
    programs.hand_over(&path).map_err(failed("close", &path))?;
    Ok(path)
}

/// Removes files of a dead server that PostgreSQL would mistake for those of a running one.
pub(crate) fn clear_leftovers(data: &Path, socket_dir: &Path) -> Result<(), Error> {
    for name in [".s.PGSQL.5432", ".s.PGSQL.5432.lock"] {
        remove_file(&socket_dir.join(name))?;
    }
    let path = data.join("postmaster.pid");
    match postmaster(&path) {
        Some((pid, _)) if is_mistaken(pid, data) => remove_file(&path),
        // If there is no such process, PostgreSQL needs the file to check whether shared memory is still in use.
        _ => Ok(()),
    }
}

/// Returns true if the process exists but is not a server on the cluster: it reuses the process id, or is a zombie.
///
/// The lock is held, so a running server was started by hand, and has the cluster as its working directory.
fn is_mistaken(pid: u32, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    match fs::read_link(process.join("cwd")) {
        Ok(folder) => folder != data,
        Err(error) => error.kind() == io::ErrorKind::NotFound && process.exists(),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Reads the process id from `postmaster.pid`, and whether the server accepts connections.
pub(crate) fn postmaster(path: &Path) -> Option<(u32, bool)> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next()?.parse().ok()?;
    Some((pid, lines.nth(6) == Some("ready")))
}

/// Empties a log that exceeds its limit.
pub(crate) fn shorten(log: &Path) -> io::Result<()> {
    let log = open_log(log)?;
    if log.metadata()?.len() > MAX_LOG_BYTES {
        log.set_len(0)
    } else {
        Ok(())
    }
}

/// Opens the log for appending.
pub(crate) fn open_log(log: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
}
