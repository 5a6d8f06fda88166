//! Rate of assignments through `PgBouncer` in transaction mode, compared with direct connections. Source of a row in
//! docs/benchmarks.md.
//!
//! `cargo bench --bench pooler`, or with `-- --quick`. Two replicas of the service in this process use one PostgreSQL, one of them
//! through the pooler of the system, with 10 connections. Rounds alternate them, on the same sets.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use couponry::{database, telemetry};
use embedded_postgres::PostgresServer;
use support::Result;
use support::cpu::SERVICE;
use support::replicas::{self, Replica};

/// Port of the pooler's socket.
const PORT: u16 = 6432;

fn main() -> Result<()> {
    telemetry::start("warn")?;
    let folder = tempfile::Builder::new()
        .prefix("bench-pooler-")
        .permissions(PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH, for the programs of the system"
    )]
    let path = std::env::var_os("PATH");
    let postgresql = embedded_postgres::start(&embedded_postgres::Options {
        dir: folder.path().join("pg"),
        bin_dir: None,
        path,
        durable: true,
        wait: Duration::from_secs(5),
    })?;
    let mut pooler = start_pooler(postgresql.socket_dir(), &folder.path().join("pooler"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name(SERVICE)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run(&postgresql, &folder.path().join("pooler")));
    drop(pooler.stdin.take());
    pooler.wait()?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    PostgresServer::stop(postgresql);
    println!("{}", outcome?);
    Ok(())
}

/// Starts `PgBouncer` under the account of the server. It ends with its input.
fn start_pooler(socket: &Path, dir: &Path) -> Result<Child> {
    fs::create_dir(dir)?;
    fs::write(
        dir.join("pgbouncer.ini"),
        format!(
            "[databases]\n* = host={}\n[pgbouncer]\nunix_socket_dir = {}\nlisten_addr =\nlisten_port = {PORT}\n\
             auth_type = trust\nauth_file = users\npool_mode = transaction\ndefault_pool_size = 10\n",
            socket.display(),
            dir.display()
        ),
    )?;
    fs::write(dir.join("users"), "\"postgres\" \"\"\n")?;
    let owner = fs::metadata(socket)?;
    chown(dir, Some(owner.uid()), Some(owner.gid()))?;
    let script = format!(
        "PATH=$PATH:/usr/sbin; setpriv --reuid {} --regid {} --clear-groups pgbouncer -q pgbouncer.ini 2>log & read _; kill $!; wait $!",
        owner.uid(),
        owner.gid()
    );
    let child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .spawn()?;
    while !dir.join(format!(".s.PGSQL.{PORT}")).exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}

async fn run(postgresql: &PostgresServer, sockets: &Path) -> Result<String> {
    let direct = postgresql.connect_options("postgres");
    let pooled = direct.clone().socket(sockets).port(PORT);
    database::migrate(&direct).await?;
    let replicas = [
        Replica {
            name: "direct",
            options: &direct,
            settings: &[],
        },
        Replica {
            name: "through PgBouncer",
            options: &pooled,
            settings: &["--pooler"],
        },
    ];
    replicas::compare(postgresql.pid(), replicas).await
}
