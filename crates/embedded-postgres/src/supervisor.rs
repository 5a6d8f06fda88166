//! The server process and the thread that supervises it.

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

use crate::programs::Programs;
use crate::{Error, POLL_INTERVAL, PostgresServer, failed, folder};

/// Most bytes of the log that an error quotes.
const MAX_QUOTED_BYTES: u64 = 2_000;
/// Interval of the checks that the server still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Longest pause between two attempts to restart the server.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Time to wait after a signal before the server is sent a stronger one.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of every server, passed as arguments so that neither the environment nor an edited file can change them.
const COMMON: [&str; 3] = ["listen_addresses=", "port=5432", "lc_messages=C"];
const DURABLE: [&str; 4] = [
    "max_connections=200",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
];
const NOT_DURABLE: [&str; 6] = [
    "max_connections=400",
    "shared_buffers=64MB",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
];

/// Starts, watches, restarts and stops the server.
pub(crate) struct Supervisor {
    pub(crate) programs: Programs,
    pub(crate) data: PathBuf,
    pub(crate) socket_dir: PathBuf,
    pub(crate) log: PathBuf,
    /// Held until the server and its backends have ended.
    pub(crate) lock: File,
    pub(crate) durable: bool,
}

impl Supervisor {
    /// Starts the server on a new thread: the server is tied to the thread that starts it, not to the whole process.
    pub(crate) fn start(self) -> Result<PostgresServer, Error> {
        let socket_dir = self.socket_dir.clone();
        let data = self.data.clone();
        let pid = Arc::new(AtomicU32::new(0));
        let (stop_sender, stop_signal) = mpsc::channel();
        let (outcome_sender, outcome) = mpsc::channel();
        let shared_pid = Arc::clone(&pid);
        let supervisor = thread::Builder::new()
            .name("postgresql".to_owned())
            .spawn(move || {
                let started = self.bring_up(&stop_signal);
                if let Ok(Some(child)) = &started {
                    shared_pid.store(child.id(), Ordering::Relaxed);
                }
                let (child, result) = match started {
                    Ok(child) => (child, Ok(())),
                    Err(error) => (None, Err(error)),
                };
                outcome_sender
                    .send(result)
                    .expect("the starting thread waits for the outcome");
                self.supervise(child, &stop_signal, &shared_pid);
            });
        let supervisor = supervisor.map_err(failed("supervise", &data))?;
        let server = PostgresServer {
            socket_dir,
            pid,
            stop_signal: Some(stop_sender),
            supervisor: Some(supervisor),
        };
        // If the start failed, dropping `server` waits until the supervisor has released the lock.
        outcome
            .recv()
            .expect("the supervisor sends the outcome before it ends")
            .map(|()| server)
    }

    /// Keeps the server running until the stop signal, then stops it.
    fn supervise(&self, mut child: Option<Child>, stop_signal: &Receiver<()>, pid: &AtomicU32) {
        while let Some(running) = &mut child {
            if wait_for_stop(stop_signal, CHECK_INTERVAL) {
                shut_down(running);
                child = None;
            } else if let Some(status) = ended(running) {
                tracing::warn!("PostgreSQL ended unexpectedly ({status}); restarting it");
                child = self.restart(stop_signal);
                if let Some(running) = &child {
                    pid.store(running.id(), Ordering::Relaxed);
                }
            }
        }
        // It may be in /tmp. No other server uses it while the lock is held.
        fs::remove_dir(&self.socket_dir).ok();
    }

    /// Retries to start the server until it succeeds: it refuses while orphaned backends use the shared memory.
    fn restart(&self, stop_signal: &Receiver<()>) -> Option<Child> {
        let mut pause = CHECK_INTERVAL;
        loop {
            match self.bring_up(stop_signal) {
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
            if wait_for_stop(stop_signal, pause) {
                return None;
            }
            pause = (pause * 2).min(MAX_BACKOFF);
        }
    }

    /// Starts the server and waits until it is ready, without a limit for recovery; returns `None` after the stop signal.
    fn bring_up(&self, stop_signal: &Receiver<()>) -> Result<Option<Child>, Error> {
        let logged = fs::metadata(&self.log).map_or(0, |log| log.len());
        let mut child = self
            .spawn()
            .map_err(failed("run PostgreSQL in", &self.data))?;
        let ready = Some((child.id(), true));
        loop {
            if let Some(status) = ended(&mut child) {
                let quoted = quote(&self.log, logged).unwrap_or_default();
                return Err(Error::Ended(
                    format!("{status}\n{quoted}").trim().to_owned(),
                ));
            }
            if folder::postmaster(&self.data.join("postmaster.pid")) == ready {
                return Ok(Some(child));
            }
            if wait_for_stop(stop_signal, POLL_INTERVAL) {
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
            .arg(list_item(&self.socket_dir));
        let mode: &[&str] = if self.durable { &DURABLE } else { &NOT_DURABLE };
        for setting in COMMON.iter().chain(mode) {
            command.args(["-c", setting]);
        }
        command
            .stdin(self.lock.try_clone()?)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

/// Quotes a path as an item of a list in a setting, in which a bare comma would separate two items.
fn list_item(path: &Path) -> OsString {
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

/// Waits until the pause is over or the stop signal arrives; returns true for the signal.
fn wait_for_stop(stop_signal: &Receiver<()>, pause: Duration) -> bool {
    stop_signal.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
}

/// The exit status of the process, if it has ended.
fn ended(child: &mut Child) -> Option<String> {
    match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(status.to_string()),
        // A parent that ignores SIGCHLD gets no exit status, only an error that there is no such process.
        Err(error) => Some(error.to_string()),
    }
}

fn shut_down(child: &mut Child) {
    let pid = Pid::from_child(child);
    // Fast shutdown, immediate shutdown, and SIGKILL for a process that reacts to neither.
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        if let Err(error) = kill_process(pid, signal) {
            tracing::error!("PostgreSQL cannot be stopped: {error}");
        }
        let deadline = Instant::now() + SIGNAL_TIMEOUT;
        while Instant::now() < deadline {
            if ended(child).is_some() {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Reads the end of the log, but nothing before the offset `since`.
fn quote(log: &Path, since: u64) -> io::Result<String> {
    let mut log = File::open(log)?;
    let from = log
        .metadata()?
        .len()
        .saturating_sub(MAX_QUOTED_BYTES)
        .max(since);
    log.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    log.read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}
