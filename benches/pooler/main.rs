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

use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use couponry::{database, telemetry, tenants};
use embedded_postgres::PostgresServer;
use sqlx::postgres::PgConnectOptions;
use support::Result;
use support::cpu::SERVICE;
use support::load::{self, TimeRange, Work};
use support::service::Service;
use support::table::{Table, times, whole};
use tokio::net::TcpListener;

/// Port of the pooler's socket.
const PORT: u16 = 6432;
const CLIENTS: [usize; 3] = [1, 64, 256];
/// The same of a quick run, and the codes of each set for either.
const FEW_CLIENTS: [usize; 1] = [64];
const SETS: u64 = 100;
const CODES: u64 = 40_000;
const FEW_CODES: u64 = 5000;
const SPAN: TimeRange = TimeRange {
    warm_up: Duration::from_secs(1),
    measured: Duration::from_secs(4),
};

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
    let direct = start(&direct, &[]).await?;
    let key = direct.key.clone();
    let pooled = Service {
        key: key.clone(),
        ..start(&pooled, &["--pooler"]).await?
    };
    let quick = support::is_quick();
    let (clients, codes) = if quick {
        (&FEW_CLIENTS[..], FEW_CODES)
    } else {
        (&CLIENTS[..], CODES)
    };
    let sets = direct.create_sets(SETS, codes).await?;
    let work = Work::assign(&key, &sets);
    let rounds = if quick { 3 } else { 7 };
    let mut table = Table::new(&["clients", "direct", "through PgBouncer", "ratio"]);
    for &clients in clients {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (service, rates) in [&direct, &pooled].into_iter().zip(&mut rates) {
                let closed = load::closed(service.address, postgresql.pid(), &work, clients, SPAN);
                rates.push(closed.await?.rate);
            }
        }
        let [direct, pooled] = rates.map(support::median);
        table.row(&[
            clients.to_string(),
            whole(direct),
            whole(pooled),
            times(pooled / direct),
        ]);
    }
    Ok(format!(
        "Assignments a second, {SETS} sets of one tenant, medians of {rounds} rounds:\n\n{table}"
    ))
}

/// Starts a replica on a free port. It stops with the process.
async fn start(options: &PgConnectOptions, settings: &[&str]) -> Result<Service> {
    let arguments = ["couponry", "serve"].iter().chain(settings);
    let config = CommandLine::try_parse_from(arguments)?.config;
    let app = App::start(&config, options);
    // None for the second replica.
    let key = tenants::create_demo(app.database())
        .await?
        .unwrap_or_default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(app.serve(listener, std::future::pending()));
    Ok(Service { address, key })
}
