//! Programs that stand between callers, the service and PostgreSQL: nginx, HAProxy and PgBouncer, as Debian has them.
//!
//! The tests are skipped where a program is not installed, unless `REQUIRE_PROXIES=1`.

mod haproxy;
mod nginx;
mod pgbouncer;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::program::{command, search_path, until};

/// Returns true if the program is installed.
fn is_installed(program: &str) -> bool {
    let path = search_path();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
    let required = std::env::var_os("REQUIRE_PROXIES").is_some_and(|value| value == "1");
    assert!(there || !required, "{program} is not installed");
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// A free address that no other test is given: outgoing connections and servers on port 0 have other hosts.
fn free_address(host: u8) -> SocketAddr {
    let listener =
        TcpListener::bind(SocketAddr::from(([127, 0, 7, host], 0))).expect("the loopback network");
    listener.local_addr().expect("it listens")
}

/// A proxy in the foreground, killed when this value is dropped.
struct Proxy(Child);

impl Proxy {
    /// Starts a program and waits until it accepts connections at this address.
    fn start(program: &str, arguments: &[&str], dir: &Path, address: SocketAddr) -> Self {
        let mut command: Command = command(program);
        let child = command
            .args(arguments)
            .env("PATH", search_path())
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("it is installed");
        let proxy = Self(child);
        until("the proxy listens", || {
            std::net::TcpStream::connect(address).ok()
        });
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
