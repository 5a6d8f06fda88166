//! The command `couponry serve`: connects to or starts PostgreSQL, migrates it, creates a demo tenant on a first start,
//! and serves.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use embedded_postgres::PostgresServer;
use metrics_exporter_prometheus::BuildError;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tracing_subscriber::filter::ParseError;

use crate::app::App;
use crate::config::Config;
use crate::database::{self, MigrateError, is_tls_refused, is_unavailable, loses_statements};
use crate::http::health::starting_router;
use crate::metrics;
use crate::server::Server;
use crate::telemetry::Chain;
use crate::{outbound, telemetry, tenants, traces};

/// Time limit of the start for PostgreSQL to become reachable.
const DATABASE_LIMIT: Duration = Duration::from_mins(1);
/// Time limit for the server of a killed process to release the data folder.
const LOCK_LIMIT: Duration = Duration::from_secs(20);

/// Time limit for sending spans to the collector.
const OTLP_TIMEOUT: Duration = Duration::from_secs(5);

/// Reason why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "set DATABASE_URL to the PostgreSQL to use, such as postgres://user:password@host/database"
    )]
    DatabaseUrlMissing,
    #[error("{0} is not valid")]
    DatabaseUrl(&'static str, #[source] sqlx::Error),
    #[error(
        "a pooler in transaction mode that does not know of prepared statements is in front of PostgreSQL: set \
         COUPONRY_POOLER=true, or use PgBouncer 1.21 or later with max_prepared_statements"
    )]
    Pooler,
    #[error(
        "migrations need a connection without a pooler: set COUPONRY_MIGRATE_URL, or COUPONRY_NO_MIGRATE=true and run \
         `couponry migrate` beforehand"
    )]
    MigrateUrlMissing,
    #[error("no database: set DATABASE_URL or COUPONRY_MIGRATE_URL to the PostgreSQL to migrate")]
    NothingToMigrate,
    #[error(transparent)]
    Postgres(embedded_postgres::Error),
    #[error("{0}, or set DATABASE_URL to a running server")]
    NoPostgres(embedded_postgres::Error),
    #[error("the database cannot be used")]
    Migrate(#[from] MigrateError),
    #[error(
        "PostgreSQL cannot be reached by TLS as the sslmode in DATABASE_URL requires; sslrootcert names the file of its \
         certificate authority"
    )]
    DatabaseTls(#[source] sqlx::Error),
    #[error("cannot listen on {0}; choose another address with COUPONRY_LISTEN")]
    Listen(SocketAddr, #[source] std::io::Error),
    #[error(
        "cannot listen on {0} for the metrics; choose another address with COUPONRY_METRICS_LISTEN"
    )]
    MetricsListen(SocketAddr, #[source] std::io::Error),
    #[error("COUPONRY_LOG is not valid")]
    Log(#[from] ParseError),
    #[error("metrics cannot be recorded")]
    Metrics(#[from] BuildError),
    #[error("the demo tenant cannot be created")]
    Demo(#[source] sqlx::Error),
    #[error("a signal or a thread of the operating system failed")]
    System(#[from] std::io::Error),
    #[error("the service does not respond to the health check")]
    Unhealthy,
}

impl From<embedded_postgres::Error> for Error {
    fn from(error: embedded_postgres::Error) -> Self {
        use embedded_postgres::Error::{NoAccount, NoBinaries};

        match error {
            // No server can be started here, so the message suggests another one.
            NoBinaries | NoAccount(_) => Self::NoPostgres(error),
            other => Self::Postgres(other),
        }
    }
}

/// Starts the log, and the export of traces if `is_service`. A trace that cannot be exported does not stop the service.
pub fn log(config: &Config, is_service: bool) -> Result<(), Error> {
    let endpoint = config.otlp_endpoint.as_ref().filter(|_| is_service);
    let traces = endpoint.map(|endpoint| traces::start(endpoint, otlp_client(config)));
    let (layer, failure) = match traces.transpose() {
        Ok(layer) => (layer, None),
        Err(error) => (None, Some(error)),
    };
    telemetry::start_with(&config.log, layer)?;
    if let Some(error) = failure {
        tracing::warn!(error = %Chain(&error), "traces are not exported");
    }
    Ok(())
}

fn otlp_client(config: &Config) -> reqwest::Client {
    let authorities = config.ca_file.clone().unwrap_or_default();
    let client = outbound::builder(&authorities).timeout(OTLP_TIMEOUT);
    client.build().expect("the settings are right")
}

/// Runs the service until SIGINT or SIGTERM.
pub async fn run(mut config: Config) -> Result<(), Error> {
    // First, because the first process of a container ignores signals without a handler.
    let mut stop = Box::pin(stop_signal()?);
    // Before PostgreSQL is started, so that a port in use fails at once.
    let listen = config.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Error::Listen(listen, error))?;
    let listen = listener.local_addr()?;
    let metrics_listener = match config.metrics_listen {
        Some(listen) => Some(listen_for_metrics(listen).await?),
        None => None,
    };

    let starting = Server::new(&config);
    let (options, own) = tokio::select! {
        prepared = starting.serve_while(&listener, starting_router(config.access_log), prepare(&config)) => prepared?,
        () = &mut stop => return Ok(()),
    };
    let generates_token = own.is_some() && config.operator_token.is_none();
    if generates_token {
        config.operator_token = Some(tenants::random_secret());
    }
    let token = config.operator_token.clone().filter(|_| generates_token);
    let app = App::start(&config, &options);
    if let Err(error) = app.database().check_connection_limit().await {
        tracing::warn!(error = %Chain(&error), "the connection limit of the database is not known");
    }
    if let Some(listener) = metrics_listener {
        tracing::info!(listen = %listener.local_addr()?, "serving the metrics");
        app.serve_metrics(listener);
    }
    if own.is_some() {
        let key = tenants::create_demo(app.database())
            .await
            .map_err(Error::Demo)?;
        let link = app.make_demo_link().await.map_err(Error::Demo)?;
        greet(listen, key.as_deref(), link.as_deref(), token.as_deref())?;
    }
    tracing::info!(%listen, own_postgresql = own.is_some(), "serving");
    app.serve(listener, stop).await;
    if let Some(server) = own {
        tokio::task::spawn_blocking(move || server.stop())
            .await
            .map_err(std::io::Error::other)?;
    }
    tokio::task::spawn_blocking(traces::stop)
        .await
        .map_err(std::io::Error::other)?;
    tracing::info!("stopped");
    Ok(())
}

/// Starts recording metrics, and binds their listener.
async fn listen_for_metrics(listen: SocketAddr) -> Result<TcpListener, Error> {
    metrics::install()?;
    TcpListener::bind(listen)
        .await
        .map_err(|error| Error::MetricsListen(listen, error))
}

/// Uses the configured database or starts the embedded one, and migrates it.
async fn prepare(config: &Config) -> Result<(PgConnectOptions, Option<PostgresServer>), Error> {
    let (options, own) = match &config.database_url {
        Some(url) => (parse_url("DATABASE_URL", url)?, None),
        None if config.require_database_url => return Err(Error::DatabaseUrlMissing),
        None => {
            let server = start_embedded(config).await?;
            (server.connect_options("postgres"), Some(server))
        }
    };
    let owner = match &config.migrate_url {
        _ if config.no_migrate => None,
        Some(url) => Some(parse_url("COUPONRY_MIGRATE_URL", url)?),
        None if config.pooler => return Err(Error::MigrateUrlMissing),
        None => Some(options.clone()),
    };
    retry(async || {
        // First, because a migration must not run through a pooler.
        if !config.pooler && loses_statements(&options).await? {
            return Ok(Err(Error::Pooler));
        }
        if let Some(owner) = &owner {
            database::migrate(owner).await?;
        }
        database::check(&options).await?;
        Ok(Ok(()))
    })
    .await??;
    Ok((options, own))
}

pub(crate) fn parse_url(setting: &'static str, url: &str) -> Result<PgConnectOptions, Error> {
    url.parse()
        .map_err(|error| Error::DatabaseUrl(setting, error))
}

/// Migrates the configured database.
pub(crate) async fn migrate(config: &Config) -> Result<(), Error> {
    let owner = match (&config.migrate_url, &config.database_url) {
        (None, Some(_)) if config.pooler => return Err(Error::MigrateUrlMissing),
        (Some(url), _) => parse_url("COUPONRY_MIGRATE_URL", url)?,
        (None, Some(url)) => parse_url("DATABASE_URL", url)?,
        (None, None) => return Err(Error::NothingToMigrate),
    };
    retry(async || database::migrate(&owner).await).await
}

/// Starts the embedded PostgreSQL on the data folder.
pub(crate) async fn start_embedded(config: &Config) -> Result<PostgresServer, Error> {
    let options = embedded_postgres::Options {
        dir: config.data_dir.join("pg"),
        bin_dir: config.pg_bin_dir.clone(),
        path: crate::config::path(),
        durable: true,
        wait: LOCK_LIMIT,
    };
    tokio::task::spawn_blocking(move || embedded_postgres::start(&options))
        .await
        .map_err(std::io::Error::other)?
        .map_err(Error::from)
}

/// Runs a step of the start. Retries for up to a minute while the database is unavailable or `couponry migrate` has yet to run, but
/// not if TLS with it is impossible.
async fn retry<T>(step: impl AsyncFn() -> Result<T, MigrateError>) -> Result<T, Error> {
    let deadline = Instant::now() + DATABASE_LIMIT;
    loop {
        let error = match step().await {
            Ok(done) => return Ok(done),
            Err(MigrateError::Statement(error)) if is_tls_refused(&error) => {
                return Err(Error::DatabaseTls(error));
            }
            Err(MigrateError::Pooler) => return Err(Error::MigrateUrlMissing),
            Err(error) => error,
        };
        let may_succeed = matches!(error, MigrateError::NotMigrated)
            || error.statement().is_some_and(is_unavailable);
        if !may_succeed || Instant::now() >= deadline {
            return Err(error.into());
        }
        tracing::warn!(error = %Chain(&error), "waiting for the database");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Completes with the first SIGINT or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
    })
}

/// Prints the addresses, keys and first commands after a start. Uses standard output; logs go to standard error.
fn greet(
    listen: SocketAddr,
    key: Option<&str>,
    link: Option<&str>,
    token: Option<&str>,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nCouponry is listening on http://{listen} (API reference: http://{listen}/docs)"
    )?;
    if let Some(key) = key {
        writeln!(out, "API key of the demo tenant, shown only once: {key}")?;
    } else {
        writeln!(
            out,
            "The API key of the demo tenant was shown at the first start; the operator can create another."
        )?;
    }
    if let Some(link) = link {
        writeln!(
            out,
            "Dashboard sign-in link, valid once: http://{listen}/dashboard/#/sign-in/{link}"
        )?;
    }
    if let Some(token) = token {
        writeln!(out, "Operator token, valid until the next start: {token}")?;
    }
    writeln!(out, "\nTry next, in another terminal:\n")?;
    writeln!(
        out,
        "  export COUPONRY_URL=http://{listen} COUPONRY_KEY={}",
        key.unwrap_or("cpk_…")
    )?;
    writeln!(
        out,
        "  curl -H \"Authorization: Bearer $COUPONRY_KEY\" $COUPONRY_URL/v1/coupon-sets\n"
    )?;
    out.flush()
}

/// Checks that a service running on this machine is alive.
pub async fn check_health(config: &Config) -> Result<(), Error> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let request = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        std::io::Result::Ok(response)
    };
    match tokio::time::timeout(Duration::from_secs(3), request).await {
        Ok(Ok(response)) if response.starts_with("HTTP/1.1 200") => Ok(()),
        _ => Err(Error::Unhealthy),
    }
}
