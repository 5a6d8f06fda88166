//! Comparison of the assign rates of two replicas in this process that use one PostgreSQL. Rounds alternate them, on the same
//! sets, so that what changes on the machine meanwhile changes both.

use std::time::Duration;

use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use couponry::tenants;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;

use super::load::{self, TimeRange, Work};
use super::service::Service;
use super::table::{Table, times, whole};
use super::{Result, is_quick, median};

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

/// A replica, and the name of its column in the table.
pub struct Replica<'a> {
    pub name: &'a str,
    pub options: &'a PgConnectOptions,
    pub settings: &'a [&'a str],
}

impl Replica<'_> {
    /// Starts it on a free port. It stops with the process.
    async fn start(&self) -> Result<Service> {
        let arguments = ["couponry", "serve"].iter().chain(self.settings);
        let config = CommandLine::try_parse_from(arguments)?.config;
        let app = App::start(&config, self.options);
        // None for the second replica.
        let key = tenants::create_demo(app.database())
            .await?
            .unwrap_or_default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(app.serve(listener, std::future::pending()));
        Ok(Service { address, key })
    }
}

/// Measures both on a new database. Returns a table with the medians of the rates and with their ratio, the second to the
/// first.
pub async fn compare(postmaster: u32, replicas: [Replica<'_>; 2]) -> Result<String> {
    let first = replicas[0].start().await?;
    let second = Service {
        key: first.key.clone(),
        ..replicas[1].start().await?
    };
    let quick = is_quick();
    let (clients, codes) = if quick {
        (&FEW_CLIENTS[..], FEW_CODES)
    } else {
        (&CLIENTS[..], CODES)
    };
    let sets = first.create_sets(SETS, codes).await?;
    let work = Work::assign(&first.key, &sets);
    let rounds = if quick { 3 } else { 7 };
    let mut table = Table::new(&["clients", replicas[0].name, replicas[1].name, "ratio"]);
    for &clients in clients {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (service, rates) in [&first, &second].into_iter().zip(&mut rates) {
                let closed = load::closed(service.address, postmaster, &work, clients, SPAN);
                rates.push(closed.await?.rate);
            }
        }
        let [first, second] = rates.map(median);
        table.row(&[
            clients.to_string(),
            whole(first),
            whole(second),
            times(second / first),
        ]);
    }
    Ok(format!(
        "Assignments a second, {SETS} sets of one tenant, medians of {rounds} rounds:\n\n{table}"
    ))
}
