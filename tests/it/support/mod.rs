//! Shared helpers of the tests: the service with its own database, and a client with the operations of the API.
//!
//! Every request of a test is checked against `openapi.yaml`, so each test is a contract test too.

pub mod by_hand;
pub mod client;
pub mod contract;
pub mod database;
pub mod hooks;
pub mod ledger;
mod owner;
pub mod pages;
pub mod pooler;
pub mod process;
pub mod program;
pub mod rows;
pub mod shop;
pub mod sql;
pub mod tls;

use std::time::Duration;

use axum::Router;
use couponry::app::App;
use couponry::cli::CommandLine;
use sqlx::postgres::PgConnectOptions;

use client::Client;
use database::TestDatabase;
use shop::Shop;

pub const OPERATOR_TOKEN: &str = "operator-token-of-the-tests";

/// The service in this process, on an empty database.
pub struct TestApp {
    pub app: App,
    pub database: TestDatabase,
    router: Router,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::on(TestDatabase::create().await)
    }

    /// A further replica of the service on a database that another one may use too.
    pub fn on(database: TestDatabase) -> Self {
        Self::with(database, &[])
    }

    /// With further settings of the command line.
    pub fn with(database: TestDatabase, settings: &[&str]) -> Self {
        let direct = database.service_options();
        let Some(pooler) = database::pooler() else {
            return Self::through(database, &direct, settings);
        };
        let settings = [settings, &["--pooler"]].concat();
        Self::through(database, &pooler.options(&direct), &settings)
    }

    /// With other options of the connections to the database.
    pub fn through(database: TestDatabase, options: &PgConnectOptions, settings: &[&str]) -> Self {
        let arguments = ["couponry", "--operator-token", OPERATOR_TOKEN];
        let arguments = arguments.iter().chain(settings);
        let config = <CommandLine as clap::Parser>::parse_from(arguments).config;
        let app = App::start(&config, options);
        let router = app.router();
        Self {
            app,
            database,
            router,
        }
    }

    /// A second replica on the same database.
    pub fn replica(&self) -> Self {
        Self::on(self.database.shared())
    }

    /// Without any credentials.
    pub fn anyone(&self) -> Client {
        Client::new(self.router.clone(), None)
    }

    pub fn with_key(&self, key: &str) -> Client {
        Client::new(self.router.clone(), Some(format!("Bearer {key}")))
    }

    pub fn operator(&self) -> Client {
        self.with_key(OPERATOR_TOKEN)
    }

    /// A new tenant with a key that has all scopes.
    pub async fn shop(&self) -> Shop {
        Shop::open(self).await
    }
}

/// Waits until the closure returns a value; fails after half a minute.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    question: impl FnMut() -> F,
) -> T {
    eventually_within(Duration::from_secs(30), what, question).await
}

/// Waits until the closure returns a value; fails after the time limit.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    mut question: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"))
}
