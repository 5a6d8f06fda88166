//! The outbox: what happens to sets comes into the deliveries of webhooks, each event once for each endpoint.
//!
//! The log of assignments is the outbox, so who asks for a code pays nothing. A reader follows the ledger of each set; its
//! cursor and the deliveries move in one transaction. It comes soon to the sets that this replica notes, and within
//! seconds to those that a replica wrote to which has gone since.

mod db;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::assignments::recorder::Ledger;
use crate::database::Database;
use crate::error::{Chain, is_unavailable};
use crate::statistics::{Forecast, forecasts};
use crate::tenants::TenantId;

/// How long what was noted gathers: a busy set is read ten times a second.
const GATHER: Duration = Duration::from_millis(100);
/// Numbers of a ledger that are told in one transaction.
const PORTION: i32 = 1000;
/// Sets that one replica reads at a time.
const READERS: usize = 2;
/// How often it looks for what happened beside the ledgers.
const LOOK: Duration = Duration::from_secs(1);
/// How often it looks for sets that nobody has noted.
const SWEEP: Duration = Duration::from_secs(15);
/// How long an alert waits for its forecast.
const FORECAST_LIMIT: Duration = Duration::from_secs(2);

/// Sets that this replica wrote to, whose ledgers are to be read and whose stock is to be judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    ledgers: Mutex<HashSet<Ledger>>,
    some: Notify,
}

impl Written {
    /// Costs next to nothing: it is for each batch of assignments.
    pub(crate) fn note(&self, ledger: Ledger) {
        let mut ledgers = self
            .0
            .ledgers
            .lock()
            .expect("no holder of this lock panics");
        if ledgers.is_empty() {
            self.0.some.notify_one();
        }
        ledgers.insert(ledger);
    }

    /// What was noted, as soon as there is something and a little has gathered.
    async fn gather(&self) -> HashSet<Ledger> {
        self.0.some.notified().await;
        tokio::time::sleep(GATHER).await;
        let mut ledgers = self
            .0
            .ledgers
            .lock()
            .expect("no holder of this lock panics");
        std::mem::take(&mut *ledgers)
    }
}

pub(crate) fn spawn(
    database: &Database,
    written: &Written,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) {
    tracker.spawn(read(database.clone(), written.clone(), shutdown.clone()));
    tracker.spawn(look(database.clone(), written.clone(), shutdown.clone()));
}

async fn read(database: Database, written: Written, shutdown: CancellationToken) {
    loop {
        let ledgers = tokio::select! {
            ledgers = written.gather() => ledgers,
            () = shutdown.cancelled() => return,
        };
        // What fails for another reason than that somebody is at it is found by the next sweep.
        match db::heard(database.system(), ledgers).await {
            Ok(ledgers) => {
                stream::iter(ledgers)
                    .for_each_concurrent(READERS, async |ledger| {
                        // One portion, so that a set with much to tell keeps no other waiting.
                        match tell(&database, ledger).await {
                            Ok(true) => written.note(ledger),
                            Ok(false) => {}
                            Err(error) => {
                                log_failure(&error);
                                if is_lock_timeout(&error) {
                                    written.note(ledger);
                                }
                            }
                        }
                    })
                    .await;
            }
            Err(error) => log_failure(&error),
        }
    }
}

async fn look(database: Database, written: Written, shutdown: CancellationToken) {
    let mut swept: Option<Instant> = None;
    while !shutdown.is_cancelled() {
        match db::waiting(database.system()).await {
            Ok(ledgers) => ledgers.into_iter().for_each(|ledger| written.note(ledger)),
            Err(error) => log_failure(&error),
        }
        if swept.is_none_or(|swept| swept.elapsed() > SWEEP) {
            swept = Some(Instant::now());
            if let Err(error) = sweep(&database, &written).await {
                log_failure(&error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Notes the sets that have something to tell: what a replica left that has gone, and stock that fell without an entry in
/// the ledger, as codes do that expire.
async fn sweep(database: &Database, written: &Written) -> sqlx::Result<()> {
    for tenant in db::hearing(database.system()).await? {
        // One that cannot be looked at now keeps none of the others waiting.
        match behind(database, tenant).await {
            Ok(set_nos) => {
                for set_no in set_nos {
                    written.note(Ledger { tenant, set_no });
                }
            }
            Err(error) => log_failure(&error),
        }
    }
    Ok(())
}

async fn behind(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<i32>> {
    let mut transaction = database.tenant(tenant).await?;
    let set_nos = db::behind(&mut transaction, tenant).await?;
    transaction.commit().await?;
    Ok(set_nos)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let is_one = |code: &str| matches!(code, "55P03" | "40P01");
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref().is_some_and(is_one))
}

fn log_failure(error: &sqlx::Error) {
    if is_unavailable(error) {
        tracing::warn!(error = %Chain(error), "reading events failed");
    } else {
        tracing::error!(error = %Chain(error), "reading events failed");
    }
}

/// Tells a portion of a set's ledger, and how low its stock is. Answers whether there may be more.
async fn tell(database: &Database, ledger: Ledger) -> sqlx::Result<bool> {
    let mut transaction = database.task(ledger.tenant).await?;
    let mut told = db::publish_ledger(&mut transaction, ledger, PORTION).await?;
    if let Some(mut alert) = told.alert() {
        alert.forecast = forecast(database, ledger).await;
        let webhook_nos = db::tell_alert(&mut transaction, ledger, &alert).await?;
        told.webhook_nos.extend(webhook_nos);
    }
    if !told.webhook_nos.is_empty() {
        db::wake(&mut transaction, ledger.tenant, &told.webhook_nos).await?;
    }
    transaction.commit().await?;
    Ok(told.more)
}

/// On a connection of its own: an alert without a forecast is better than none, and better than one that comes late.
async fn forecast(database: &Database, ledger: Ledger) -> Option<Forecast> {
    let find = async {
        let mut transaction = database.tenant(ledger.tenant).await?;
        let found = forecasts(&mut transaction, ledger.tenant, &[ledger.set_no]).await?;
        transaction.commit().await?;
        sqlx::Result::Ok(found.get(&ledger.set_no).copied())
    };
    match timeout(FORECAST_LIMIT, find).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            log_failure(&error);
            None
        }
        Err(_) => None,
    }
}

/// A step of the stock that was passed on its way down.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    #[serde(skip)]
    number: i64,
    coupon_set_id: Uuid,
    /// None when nothing is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    available: i64,
    threshold: Option<i32>,
    forecast: Option<Forecast>,
}

impl Alert {
    fn event_type(&self) -> &'static str {
        if self.step.is_some() {
            "coupon-set.low-stock"
        } else {
            "coupon-set.exhausted"
        }
    }
}
