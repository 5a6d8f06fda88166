//! The folder of an embedded server: its lock, its cluster, its sockets, its log.
//!
//! Whatever a kill or a power failure leaves here, the next start can go on from it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::binaries::Programs;
use super::{Error, GLANCE, Options, failed};

/// How long a path to a folder of sockets may be: the kernel's 104 to 108 bytes less the name of the socket.
const SOCKET_DIR_BYTES: usize = 88;
/// The size from which the log begins anew at the next start.
const LOG_BYTES: u64 = 10_000_000;

/// Makes the folder if it is missing, and finds its name without links.
pub(super) fn create(dir: &Path) -> Result<PathBuf, Error> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.map_err(failed("create", dir))?;
    dir.canonicalize().map_err(failed("resolve", dir))
}

/// Takes the lock of the folder, which its servers and their backends hold until the last of them is gone.
pub(super) fn lock(dir: &Path, wait: Duration) -> Result<File, Error> {
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
            Err(TryLockError::WouldBlock) => thread::sleep(GLANCE),
        }
    }
}

/// Whether there is a cluster already.
pub(super) fn holds_cluster(data: &Path) -> Result<bool, Error> {
    let version = data.join("PG_VERSION");
    version.try_exists().map_err(failed("read", &version))
}

/// Makes the cluster under another name first, so that `data` is whole or missing even if we are killed meanwhile.
pub(super) fn initialise(
    programs: &Programs,
    dir: &Path,
    lock: &File,
    options: &Options,
) -> Result<(), Error> {
    let new = dir.join("data.new");
    remove(&new, options.wait)?;
    private_folder(&new, programs).map_err(failed("create", &new))?;
    // Systems without the locale C.UTF-8 sort alike by C, but know upper and lower case of ASCII only.
    let tried = initdb(programs, &new, lock, "--locale=C.UTF-8", options.durable);
    match tried {
        Err(Error::Initdb(said)) if said.contains("locale") => {
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

/// Removes a cluster that an interrupted start left, whose last program may still be writing to it.
fn remove(path: &Path, wait: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + wait;
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(failed("remove", path)(error)),
            Err(_) => thread::sleep(GLANCE),
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

/// Makes the folder of the sockets: in the folder, or in `/tmp` if the path would be too long for a socket.
pub(super) fn socket_dir(dir: &Path, programs: &Programs) -> Result<PathBuf, Error> {
    let mut path = dir.join("s");
    if path.as_os_str().len() > SOCKET_DIR_BYTES {
        let mut hasher = DefaultHasher::new();
        dir.hash(&mut hasher);
        path = PathBuf::from(format!("/tmp/couponry-{:016x}", hasher.finish()));
    }
    match private_folder(&path, programs) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => {
            return other
                .map(|()| path.clone())
                .map_err(failed("create", &path));
        }
    }
    // In /tmp anyone may have made it, or put a link there; what is ours, nobody else can exchange.
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

/// Removes what a dead server left and PostgreSQL would take for a living one's.
pub(super) fn clear_leftovers(data: &Path, socket_dir: &Path) -> Result<(), Error> {
    for name in [".s.PGSQL.5432", ".s.PGSQL.5432.lock"] {
        remove_file(&socket_dir.join(name))?;
    }
    let path = data.join("postmaster.pid");
    match postmaster(&path) {
        Some((pid, _)) if is_mistaken(pid, data) => remove_file(&path),
        // If the process is gone altogether, PostgreSQL needs the file to find out whether memory is still in use.
        _ => Ok(()),
    }
}

/// Whether the process exists and is no server on the cluster, but one that got its number later, or a zombie that nobody waits for.
///
/// We hold the lock, so only a server that someone started by hand can be alive, and that one stands in its folder.
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

/// Reads from `postmaster.pid` the process and whether it takes connections.
pub(super) fn postmaster(path: &Path) -> Option<(u32, bool)> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next()?.parse().ok()?;
    Some((pid, lines.nth(6) == Some("ready")))
}

/// Empties a log that has grown large.
pub(super) fn shorten(log: &Path) -> io::Result<()> {
    let log = open_log(log)?;
    if log.metadata()?.len() > LOG_BYTES {
        log.set_len(0)
    } else {
        Ok(())
    }
}

/// Opens the log at its end.
pub(super) fn open_log(log: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
}
