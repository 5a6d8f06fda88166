//! PgBouncer in front of a server of the tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::TempDir;

use super::program::{folder, until};

const PORT: u16 = 6432;

/// A running pooler. It ends with this value, and with this process.
pub struct Pooler {
    child: Child,
    folder: TempDir,
}

impl Pooler {
    /// Starts PgBouncer in transaction mode.
    pub fn start(socket: &Path, users: &[&str]) -> Self {
        Self::with_mode("transaction", socket, users)
    }

    /// Starts PgBouncer in front of a server's socket, with 10 connections for each database and user. Of an old version: it
    /// knows nothing of prepared statements.
    pub fn with_mode(mode: &str, socket: &Path, users: &[&str]) -> Self {
        let folder = folder();
        let dir = folder.path().display().to_string();
        let config = format!(
            "[databases]\n* = host={socket}\n\
             [pgbouncer]\nunix_socket_dir = {dir}\nlisten_addr =\nlisten_port = {PORT}\nauth_type = trust\n\
             auth_file = {dir}/users\npool_mode = {mode}\ndefault_pool_size = 10\nmax_client_conn = 2000\n\
             server_idle_timeout = 5\nserver_login_retry = 1\n",
            socket = socket.display()
        );
        let users: Vec<String> = users
            .iter()
            .map(|user| format!("\"{user}\" \"\"\n"))
            .collect();
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, config).expect("the folder is ours");
        fs::write(folder.path().join("users"), users.concat()).expect("the folder is ours");
        // It refuses to run as root, and the socket is closed to all but the server's account.
        let owner = fs::metadata(socket).expect("the server runs");
        let is_other = owner.uid() != rustix::process::geteuid().as_raw();
        if is_other {
            chown(folder.path(), Some(owner.uid()), Some(owner.gid())).expect("root may");
        }
        let account = if is_other {
            format!(
                "setpriv --reuid {} --regid {} --clear-groups ",
                owner.uid(),
                owner.gid()
            )
        } else {
            String::new()
        };
        // It ends when its input does, so it does not outlive this process.
        let script = format!(
            "cd {dir}; {account}pgbouncer -q pgbouncer.ini 2>log & read _; kill $!; wait $!"
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .env("PATH", super::program::search_path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let pooler = Self { child, folder };
        until("the pooler listens", || {
            pooler.socket().exists().then_some(())
        });
        pooler
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{PORT}"))
    }

    /// These options, by way of the pooler.
    pub fn options(&self, direct: &PgConnectOptions) -> PgConnectOptions {
        direct
            .clone()
            .socket(self.folder.path())
            .port(PORT)
            .ssl_mode(PgSslMode::Disable)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
