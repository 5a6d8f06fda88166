//! PostgreSQL's programs: finding them and running them.
//!
//! PostgreSQL refuses to run as root, so root runs it as another user. If that user may not enter the folder, it runs in a
//! user namespace in which root has another user id. Every program is tied to the thread that starts it: when that thread
//! ends for any reason, the program receives SIGINT. All of this is done by a command prefix, so that no unsafe code is
//! needed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// Install locations of PostgreSQL: a folder, the prefix of the version in its entries, and the subfolder of the programs.
const SYSTEM_FOLDERS: [(&str, &str, &str); 7] = [
    ("usr/lib/postgresql", "", "bin"),
    ("usr/libexec", "postgresql", ""),
    ("usr", "pgsql-", "bin"),
    ("usr/local", "pgsql", "bin"),
    ("opt/homebrew/opt", "postgresql@", "bin"),
    ("usr/local/opt", "postgresql@", "bin"),
    ("Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Environment variables of the caller that would change the programs' behaviour; `LANGUAGE` would translate the log.
const REMOVED_VARIABLES: [&str; 9] = [
    "LANGUAGE",
    "PGCLIENTENCODING",
    "PGDATA",
    "PGDATESTYLE",
    "PGHOST",
    "PGOPTIONS",
    "PGPORT",
    "PGTZ",
    "PGUSER",
];

/// Runs its arguments if its parent process has the id given first: `setpriv` misses a parent that ended before it started.
const IF_PARENT_LIVES: &str = r#"[ "$PPID" = "$0" ] && exec "$@""#;

/// Finds the folder of the programs: `explicit`, else the first in `path`, else the installed one of `version`, else the
/// newest installed one.
pub(crate) fn find(
    explicit: Option<&Path>,
    path: Option<&OsStr>,
    version: Option<u32>,
) -> Result<PathBuf, Error> {
    if let Some(dir) = explicit {
        let found = std::path::absolute(dir).ok().filter(|dir| is_complete(dir));
        return found.ok_or_else(|| Error::NotBinaries(dir.to_owned()));
    }
    path.and_then(in_path)
        .or_else(|| in_system(Path::new("/"), version))
        .ok_or(Error::NoBinaries)
}

fn is_complete(dir: &Path) -> bool {
    dir.join("postgres").is_file() && dir.join("initdb").is_file()
}

fn in_path(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).find(|dir| dir.is_absolute() && is_complete(dir))
}

fn in_system(root: &Path, version: Option<u32>) -> Option<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, suffix) in SYSTEM_FOLDERS {
        for entry in fs::read_dir(root.join(parent))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
                continue;
            };
            let dir = entry.path().join(suffix);
            if is_complete(&dir) {
                found.push((major(rest).unwrap_or(0), dir));
            }
        }
    }
    found
        .into_iter()
        .max_by_key(|(major, _)| (Some(*major) == version, *major))
        .map(|(_, dir)| dir)
}

/// Parses the major version from a text such as `15`, `9.6` or the content of `PG_VERSION`.
pub(crate) fn major(version: &str) -> Option<u32> {
    version.trim().split('.').next()?.parse().ok()
}

/// The account that PostgreSQL runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// The user of this process.
    Caller,
    /// A user with access to the folder.
    User { uid: u32, gid: u32 },
    /// Root in a user namespace that maps it to id 1000: it stays the owner of the files and loses its privileges.
    Namespace,
    /// A user with a capability to enter folders that are closed to it, for containers that forbid user namespaces.
    Privileged { uid: u32, gid: u32 },
}

/// The programs of one PostgreSQL installation, with the account that they run as.
#[derive(Debug)]
pub(crate) struct Programs {
    bin: PathBuf,
    account: Account,
    /// The system has a `setpriv` that can tie a process to its parent; macOS and Busybox have none.
    tied: bool,
}

impl Programs {
    /// Chooses the account for the cluster `data` in `dir`; an existing cluster keeps its owner.
    pub(crate) fn choose(bin: PathBuf, dir: &Path, data: &Path) -> Result<Self, Error> {
        let tied = succeeds(Command::new("setpriv").args(["--pdeathsig", "INT", "true"]));
        if !tied {
            tracing::warn!(
                "without util-linux's setpriv, PostgreSQL stays if this process is killed"
            );
        }
        let mut programs = Self {
            bin,
            account: Account::Caller,
            tied,
        };
        if !rustix::process::geteuid().is_root() {
            return Ok(programs);
        }
        for account in accounts(fs::metadata(data).ok().map(|data| (data.uid(), data.gid()))) {
            programs.account = account;
            if programs.can_enter(dir) {
                return Ok(programs);
            }
        }
        Err(Error::NoAccount(dir.to_owned()))
    }

    /// Runs a program there: mode bits alone do not show access lists, mount options and restrictions of a container.
    fn can_enter(&self, dir: &Path) -> bool {
        let mut attempt = self.command_at(Path::new("sh"));
        attempt.args(["-c", r#"cd "$0" && exec "$1" --version"#]);
        succeeds(attempt.arg(dir).arg(self.bin.join("postgres")))
    }

    /// Builds a command for one of the programs, in its own process group: Ctrl-C must not stop it before this process does.
    pub(crate) fn command(&self, name: &str) -> Command {
        self.command_at(&self.bin.join(name))
    }

    fn command_at(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        if self.account == Account::Namespace {
            add(&[
                "unshare",
                "--user",
                "--map-user=1000",
                "--map-group=1000",
                "--",
            ]);
        }
        // A change of user clears the parent-death signal, so `setpriv` comes after `unshare`; it sets the signal last.
        if self.tied {
            add(&["setpriv", "--pdeathsig", "INT"]);
            if let Some((uid, gid)) = self.ids() {
                add(&[
                    "--clear-groups",
                    "--reuid",
                    &uid.to_string(),
                    "--regid",
                    &gid.to_string(),
                ]);
            }
            if let Account::Privileged { .. } = self.account {
                add(&[
                    "--inh-caps",
                    "+dac_override",
                    "--ambient-caps",
                    "+dac_override",
                ]);
            }
            add(&["sh", "-c", IF_PARENT_LIVES, &std::process::id().to_string()]);
        }
        words.push(program.into());

        let mut command = Command::new(&words[0]);
        // The caller's working directory may be closed to the account.
        command
            .args(&words[1..])
            .current_dir("/")
            .process_group(0)
            .env("LC_ALL", "C");
        for name in REMOVED_VARIABLES {
            command.env_remove(name);
        }
        if let (false, Some((uid, gid))) = (self.tied, self.ids()) {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes the account the owner of a file or folder of this process.
    pub(crate) fn hand_over(&self, path: &Path) -> io::Result<()> {
        match self.ids() {
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// The user id of the account.
    pub(crate) fn owner(&self) -> u32 {
        self.ids()
            .map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid)
    }

    fn ids(&self) -> Option<(u32, u32)> {
        match self.account {
            Account::User { uid, gid } | Account::Privileged { uid, gid } => Some((uid, gid)),
            Account::Caller | Account::Namespace => None,
        }
    }
}

/// Candidate accounts for root, in order of preference.
fn accounts(owner: Option<(u32, u32)>) -> Vec<Account> {
    match owner {
        Some((0, _)) => vec![Account::Namespace],
        Some((uid, gid)) => vec![Account::User { uid, gid }, Account::Privileged { uid, gid }],
        None => match user("postgres").or_else(|| user("nobody")) {
            Some((uid, gid)) => vec![
                Account::User { uid, gid },
                Account::Namespace,
                Account::Privileged { uid, gid },
            ],
            None => vec![Account::Namespace],
        },
    }
}

fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read("/etc/passwd").ok()?;
    String::from_utf8_lossy(&users).lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let ids = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then_some(ids)
    })
}

fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(dir: &Path) -> PathBuf {
        fs::create_dir_all(dir).expect("the folder is ours");
        for name in ["postgres", "initdb"] {
            fs::write(dir.join(name), "").expect("the folder is ours");
        }
        dir.to_owned()
    }

    #[test]
    fn the_system_offers_its_newest_unless_a_cluster_needs_another() {
        let root = tempfile::tempdir().expect("/tmp is writable");
        assert_eq!(in_system(root.path(), None), None);
        let old = install(&root.path().join("usr/lib/postgresql/9.6/bin"));
        assert_eq!(in_system(root.path(), None), Some(old));
        let newer = install(&root.path().join("usr/lib/postgresql/15/bin"));
        let newest = install(&root.path().join("usr/pgsql-17/bin"));
        fs::create_dir_all(root.path().join("usr/lib/postgresql/18/bin"))
            .expect("the folder is ours");
        assert_eq!(in_system(root.path(), None), Some(newest.clone()));
        assert_eq!(in_system(root.path(), Some(15)), Some(newer));
        assert_eq!(in_system(root.path(), Some(16)), Some(newest));
    }

    #[test]
    fn an_explicit_folder_comes_before_the_path() {
        let root = tempfile::tempdir().expect("/tmp is writable");
        let explicit = install(&root.path().join("explicit"));
        let other = install(&root.path().join("other"));
        let path = std::env::join_paths([Path::new("relative"), &root.path().join("none"), &other])
            .expect("the names hold no colon");
        let found = |explicit: Option<&Path>| find(explicit, Some(&path), None).ok();
        assert_eq!(found(Some(&explicit)), Some(explicit.clone()));
        assert_eq!(found(None), Some(other));
        assert_eq!(found(Some(&root.path().join("none"))), None);
    }

    #[test]
    fn a_missing_postgresql_is_reported_in_one_line_that_helps() {
        let line = Error::NoBinaries.to_string();
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("apt-get install postgresql"), "{line}");
    }
}
