//! One PostgreSQL that may be killed, and replicas of the program that use it. All but the first connect through a
//! proxy.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use embedded_postgres::PostgresServer;
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::http::{Addresses, RECOVERY};
use super::proxy::Proxy;
use crate::support::OPERATOR_TOKEN;
use crate::support::database::{is_pooled, url};
use crate::support::eventually_within;
use crate::support::pooler::Pooler;
use crate::support::program::{
    Service, couponry, folder_with_cluster, ready_pid, signal, start_postgres,
};

pub const REPLICAS: usize = 3;

pub struct Cluster {
    /// Dropped in this order: the replicas, their server, its folder.
    replicas: Vec<Mutex<Option<Service>>>,
    /// In front of the server, if the tests run through one.
    _pooler: Option<Pooler>,
    postgres: PostgresServer,
    folder: TempDir,
    urls: Vec<String>,
    pub proxies: Vec<Proxy>,
    pub addresses: Addresses,
    lifecycles: AtomicU32,
}

impl Cluster {
    pub async fn start() -> Arc<Self> {
        let folder = folder_with_cluster();
        let pg = folder.path().join("pg");
        let postgres = spawn_blocking(move || start_postgres(&pg, true))
            .await
            .unwrap();
        let direct = postgres.connect_options("postgres");
        let pooler = is_pooled().then(|| Pooler::start(postgres.socket_dir(), &["postgres"]));
        let first = pooler.as_ref().map(|pooler| pooler.options(&direct));
        let mut urls = vec![url(first.as_ref().unwrap_or(&direct))];
        let mut proxies = Vec::new();
        while urls.len() < REPLICAS {
            let socket = pooler.as_ref().map(Pooler::socket);
            let direct = || postgres.socket_dir().join(".s.PGSQL.5432");
            let proxy = Proxy::start(socket.unwrap_or_else(direct)).await;
            urls.push(format!(
                "postgres://postgres@{}/postgres?sslmode=disable",
                proxy.address
            ));
            proxies.push(proxy);
        }
        let cluster = Arc::new(Self {
            replicas: (0..REPLICAS).map(|_| Mutex::new(None)).collect(),
            _pooler: pooler,
            postgres,
            folder,
            urls,
            proxies,
            addresses: Addresses::new(REPLICAS),
            lifecycles: AtomicU32::new(0),
        });
        for replica in 0..REPLICAS {
            cluster.restart(replica, async || {}).await;
        }
        cluster
    }

    fn pg(&self) -> PathBuf {
        self.folder.path().join("pg")
    }

    /// Kills a replica with SIGKILL, and starts it again after a pause.
    pub async fn restart(self: &Arc<Self>, replica: usize, pause: impl AsyncFnOnce()) {
        let mut slot = self.replicas[replica].lock().await;
        if let Some(service) = slot.take() {
            self.addresses.set(replica, None);
            service.kill();
            pause().await;
        }
        let life = self.lifecycles.fetch_add(1, Ordering::Relaxed);
        let dir = self
            .folder
            .path()
            .join(format!("replica-{replica}-{life:04}"));
        fs::create_dir(&dir).expect("the folder is ours");
        let mut command = couponry(&dir);
        command
            .env("DATABASE_URL", &self.urls[replica])
            .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
        if is_pooled() {
            let direct = url(&self.postgres.connect_options("postgres"));
            command
                .env("COUPONRY_POOLER", "true")
                .env("COUPONRY_MIGRATE_URL", direct);
        }
        let service = spawn_blocking(move || Service::start(&dir, &mut command)).await;
        let service = service.expect("the service starts");
        self.addresses.set(replica, Some(service.address));
        *slot = Some(service);
    }

    /// Freezes a replica for a time. A replica that is killed meanwhile stays gone.
    pub async fn freeze(&self, replica: usize, pause: impl AsyncFnOnce()) {
        let signal_to = async |pid: Option<u32>, with| {
            let slot = self.replicas[replica].lock().await;
            let now = slot.as_ref().map(Service::pid);
            if let Some(now) = now.filter(|now| pid.is_none_or(|pid| pid == *now)) {
                signal(now, with);
            }
            now
        };
        let pid = signal_to(None, Signal::STOP).await;
        pause().await;
        signal_to(pid, Signal::CONT).await;
    }

    /// Kills the postmaster. Its supervisor starts another as soon as the orphaned backends are gone.
    pub async fn kill_postmaster(&self) {
        let pid = self.postmaster().await;
        signal(pid, Signal::KILL);
        eventually_within(RECOVERY, "another postmaster is ready", async || {
            ready_pid(&self.pg()).filter(|other| *other != pid)
        })
        .await;
    }

    async fn postmaster(&self) -> u32 {
        eventually_within(RECOVERY, "PostgreSQL is ready", async || {
            // The file outlives a killed postmaster.
            ready_pid(&self.pg()).filter(|pid| crate::support::program::runs(*pid))
        })
        .await
    }

    /// A superuser's connection, as soon as the server accepts one.
    pub async fn sql(&self) -> PgConnection {
        let options = self.postgres.connect_options("postgres");
        eventually_within(RECOVERY, "PostgreSQL accepts connections", async || {
            PgConnection::connect_with(&options).await.ok()
        })
        .await
    }

    /// The operator's client of the first replica.
    pub async fn operator(&self) -> crate::support::program::Client {
        let slot = self.replicas[0].lock().await;
        slot.as_ref().expect("it runs").client(OPERATOR_TOKEN)
    }

    /// Waits until every replica reports that it is ready.
    pub async fn heal(&self) {
        for slot in &self.replicas {
            let slot = slot.lock().await;
            let client = slot.as_ref().expect("it runs").client("");
            spawn_blocking(move || {
                crate::support::program::until("the replica is ready", || {
                    (client.get("/readyz").status == 200).then_some(())
                });
            })
            .await
            .unwrap();
        }
    }

    /// Log lines of failures that no fault explains, the first few of each process.
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        for entry in fs::read_dir(self.folder.path()).expect("the folder is ours") {
            let entry = entry.expect("the folder is ours");
            let Ok(log) = fs::read_to_string(entry.path().join("stderr")) else {
                continue;
            };
            let wrong = log.lines().filter(|line| {
                // A panic is not JSON; a library logs broken pool connections as errors.
                !line.starts_with('{')
                    || (line.contains(r#""level":"ERROR""#)
                        && line.contains(r#""target":"couponry"#))
            });
            alarms.extend(
                wrong
                    .take(5)
                    .map(|line| format!("{}: {line}", entry.file_name().display())),
            );
        }
        alarms
    }
}
