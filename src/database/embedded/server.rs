//! One server and the thread that supervises it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::binaries::Programs;
use super::{Embedded, Error, GLANCE, failed, folder};

/// How much of the log an error quotes.
const QUOTED_BYTES: u64 = 2_000;
/// The pause between two looks at whether the server still runs.
const WATCH: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to start the server again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the server may take to follow a signal before it gets a harsher one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings of every server; here so that neither the environment nor an edited file can change them.
const COMMON: [&str; 3] = ["listen_addresses=", "port=5432", "lc_messages=C"];
const DURABLE: [&str; 4] = [
    "max_connections=200",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
];
const FOR_TESTS: [&str; 6] = [
    "max_connections=400",
    "shared_buffers=64MB",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
];

/// What the supervisor needs to start the server, again and again.
pub(super) struct Server {
    pub(super) programs: Programs,
    pub(super) data: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) log: PathBuf,
    /// Held until the server and its backends are gone.
    pub(super) lock: File,
    pub(super) durable: bool,
}

impl Server {
    /// Starts the server in a thread of its own: the server is tied to the thread that starts it, not to the whole process.
    pub(super) fn supervised(self) -> Result<Embedded, Error> {
        let socket_dir = self.socket_dir.clone();
        let data = self.data.clone();
        let pid = Arc::new(AtomicU32::new(0));
        let (wanted, orders) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let shared = Arc::clone(&pid);
        let supervisor = thread::Builder::new()
            .name("postgresql".to_owned())
            .spawn(move || {
                let started = self.bring_up(&orders);
                if let Ok(Some(child)) = &started {
                    shared.store(child.id(), Ordering::Relaxed);
                }
                let (child, outcome) = match started {
                    Ok(child) => (child, Ok(())),
                    Err(error) => (None, Err(error)),
                };
                answer
                    .send(outcome)
                    .expect("the starter waits for the answer");
                self.supervise(child, &orders, &shared);
            });
        let supervisor = supervisor.map_err(failed("supervise", &data))?;
        let embedded = Embedded {
            socket_dir,
            pid,
            wanted: Some(wanted),
            supervisor: Some(supervisor),
        };
        // If the start failed, dropping the handle waits until the supervisor has released the lock.
        answered
            .recv()
            .expect("the supervisor answers before it ends")
            .map(|()| embedded)
    }

    /// Keeps the server running until the orders end, then stops it.
    fn supervise(&self, mut child: Option<Child>, orders: &Receiver<()>, pid: &AtomicU32) {
        while let Some(running) = &mut child {
            if ordered_to_stop(orders, WATCH) {
                shut_down(running);
                child = None;
            } else if let Some(how) = ended(running) {
                tracing::warn!("PostgreSQL ended unexpectedly ({how}); restarting it");
                child = self.revive(orders);
                if let Some(running) = &child {
                    pid.store(running.id(), Ordering::Relaxed);
                }
            }
        }
        // It may be in /tmp, and while the lock is held no other server needs it.
        fs::remove_dir(&self.socket_dir).ok();
    }

    /// Starts the server until it succeeds: it refuses for as long as orphans of the last one use their memory.
    fn revive(&self, orders: &Receiver<()>) -> Option<Child> {
        let mut pause = WATCH;
        loop {
            match self.bring_up(orders) {
                Ok(None) => return None,
                Ok(child) => {
                    tracing::warn!("PostgreSQL is running again");
                    return child;
                }
                Err(error) => {
                    tracing::error!(
                        "PostgreSQL does not start, next attempt in {pause:?}: {error}"
                    );
                }
            }
            if ordered_to_stop(orders, pause) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Starts the server and waits until it is ready, however long recovery takes; none if the orders end meanwhile.
    fn bring_up(&self, orders: &Receiver<()>) -> Result<Option<Child>, Error> {
        let logged = fs::metadata(&self.log).map_or(0, |log| log.len());
        let mut child = self
            .spawn()
            .map_err(failed("run PostgreSQL in", &self.data))?;
        let ready = Some((child.id(), true));
        loop {
            if let Some(how) = ended(&mut child) {
                let said = quote(&self.log, logged).unwrap_or_default();
                return Err(Error::Ended(format!("{how}\n{said}").trim().to_owned()));
            }
            if folder::postmaster(&self.data.join("postmaster.pid")) == ready {
                return Ok(Some(child));
            }
            if ordered_to_stop(orders, GLANCE) {
                shut_down(&mut child);
                return Ok(None);
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = folder::open_log(&self.log)?;
        let mut command = self.programs.command("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-k")
            .arg(quoted(&self.socket_dir));
        let specific: &[&str] = if self.durable { &DURABLE } else { &FOR_TESTS };
        for setting in COMMON.iter().chain(specific) {
            command.args(["-c", setting]);
        }
        command
            .stdin(self.lock.try_clone()?)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// A path as an item of one of PostgreSQL's lists, in which a bare comma would begin the next.
fn quoted(path: &Path) -> OsString {
    let mut item = vec![b'"'];
    for &byte in path.as_os_str().as_bytes() {
        item.extend(if byte == b'"' {
            &b"\"\""[..]
        } else {
            std::slice::from_ref(&byte)
        });
    }
    item.push(b'"');
    OsString::from_vec(item)
}

/// Waits for the pause, or for the orders to end.
fn ordered_to_stop(orders: &Receiver<()>, pause: Duration) -> bool {
    orders.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
}

/// How the process ended, if it did.
fn ended(child: &mut Child) -> Option<String> {
    match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(status.to_string()),
        // A parent that ignores SIGCHLD is told no more than that the process is gone.
        Err(error) => Some(error.to_string()),
    }
}

fn shut_down(child: &mut Child) {
    let pid = Pid::from_child(child);
    // Fast, at once, and by force, which the first two never come to unless the system is in great trouble.
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        if let Err(error) = kill_process(pid, signal) {
            tracing::error!("PostgreSQL cannot be stopped: {error}");
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if ended(child).is_some() {
                return;
            }
            thread::sleep(GLANCE);
        }
    }
}

/// The end of what the log got since it had a length.
fn quote(log: &Path, since: u64) -> io::Result<String> {
    let mut log = File::open(log)?;
    let from = log
        .metadata()?
        .len()
        .saturating_sub(QUOTED_BYTES)
        .max(since);
    log.seek(SeekFrom::Start(from))?;
    let mut said = Vec::new();
    log.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
