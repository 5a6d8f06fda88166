//! Metrics: their names, the recorder, and the functions that record.
//!
//! The recorder is one of the process, as that of the logs is: failed statements are counted in places that have no state of
//! the service. Before [`install`] nothing is recorded. No label has more values with more tenants, sets or contacts.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ::metrics::{SharedString, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

macro_rules! names {
    ($($kind:ident $constant:ident = $name:literal, $help:literal;)*) => {
        $(const $constant: &str = $name;)*

        fn describe() {
            use ::metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};

            $($kind!($name, $help);)*
        }
    };
}

names! {
    gauge BUILD_INFO = "couponry_build_info", "The version of this replica, as a label; always 1.";
    histogram REQUEST_SECONDS = "http_server_request_duration_seconds", "Time until the head of a response was ready.";
    counter RATE_LIMITED = "couponry_rate_limited_total", "Requests that were refused with status 429.";
    counter ASSIGNMENTS = "couponry_assignments_total", "Requests for a code, by the outcome or the code of the problem.";
    histogram ASSIGN_BATCH_SIZE = "couponry_assign_batch_size", "Requests for codes that a batch served.";
    histogram ASSIGN_WAIT_SECONDS = "couponry_assign_wait_seconds",
        "Time of a request in the queue, and of a batch in the database.";
    counter EVENTS = "couponry_events_total", "Recorded events of assignments.";
    gauge IMPORTS = "couponry_imports", "Imports that have not ended, by status.";
    counter IMPORT_ROWS = "couponry_import_rows_total", "Rows of finished imports.";
    gauge IMPORT_OLDEST_QUEUED = "couponry_import_oldest_queued_seconds",
        "Time for which the oldest import has waited for a worker; 0 if none waits.";
    counter WEBHOOK_ATTEMPTS = "couponry_webhook_attempts_total", "Attempts to deliver a message to a webhook.";
    gauge WEBHOOK_OLDEST_DUE = "couponry_webhook_oldest_due_seconds",
        "Time for which a webhook with due deliveries has waited for a sender; 0 if none waits.";
    gauge WEBHOOK_FAILING = "couponry_webhook_failing_seconds",
        "Longest time for which an enabled webhook with waiting deliveries has failed without a success.";
    gauge OUTBOX_LAG = "couponry_outbox_lag_entries", "Ledger entries that are not published to webhooks, at the last sweep.";
    gauge STATISTICS_LAG = "couponry_statistics_lag_entries", "Ledger entries that are not rolled up, at the last round.";
    gauge RESERVATIONS_OVERDUE = "couponry_reservations_overdue",
        "Reservations that expired more than 10 seconds ago and were not ended; 10,000 stands for more too.";
    gauge DATABASE_UP = "couponry_database_up", "1 if the database answered for this scrape, else 0.";
    gauge POOL_CONNECTIONS = "couponry_db_pool_connections", "Open connections of a pool, by state.";
    gauge POOL_MAX_CONNECTIONS = "couponry_db_pool_max_connections", "Maximum number of connections of a pool.";
    histogram ACQUIRE_SECONDS = "couponry_db_acquire_seconds", "Time to get a connection from a pool.";
    counter WITNESS_ERRORS = "couponry_witness_errors_total", "Failed writes and syncs of the witness.";
    counter DATABASE_ERRORS = "couponry_db_errors_total", "Failed calls of the database, by the class of their SQLSTATE.";
}

/// Buckets of durations, in seconds.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets of the sizes of batches, up to the largest.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Interval at which recorded durations are added to their buckets. They take memory until then.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts recording, for the life of the process.
pub(crate) fn install() -> Result<(), BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(Matcher::Full(ASSIGN_BATCH_SIZE.to_owned()), &SIZES)?
        .install_recorder()?;
    let _ = RECORDER.set(handle);
    describe();
    Collector::default().describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    // A rate needs a first value, and an alert must not miss the first of these.
    counter!(RATE_LIMITED).absolute(0);
    counter!(WITNESS_ERRORS).absolute(0);
    counter!(ASSIGNMENTS, "outcome" => "assigned").absolute(0);
    for result in ["success", "failure"] {
        counter!(WEBHOOK_ATTEMPTS, "result" => result).absolute(0);
    }
    for result in ["stored", "rejected"] {
        counter!(IMPORT_ROWS, "result" => result).absolute(0);
    }
    Ok(())
}

/// Returns true if something reads the metrics. Callers ask where recording takes more than a few instructions.
pub(crate) fn is_installed() -> bool {
    RECORDER.get().is_some()
}

/// Returns all metrics in the text format of Prometheus.
pub(crate) fn render() -> String {
    Collector::default().collect();
    RECORDER
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Call it every [`UPKEEP_INTERVAL`].
pub(crate) fn run_upkeep() {
    if let Some(recorder) = RECORDER.get() {
        recorder.run_upkeep();
    }
}

/// Records a response. `method` and `route` are of a fixed list: the caller must not pass what a client made up.
pub(crate) fn response(method: &'static str, route: &str, status: u16, duration: Duration) {
    if !is_installed() {
        return;
    }
    if status == 429 {
        counter!(RATE_LIMITED).increment(1);
    }
    let (route, status) = (SharedString::from(route.to_owned()), status.to_string());
    histogram!(REQUEST_SECONDS, "method" => method, "route" => route, "status" => status)
        .record(duration);
}

/// Times one batch of requests for codes.
pub(crate) struct AssignBatch(Option<Instant>);

impl AssignBatch {
    /// `queued_at` are the times at which the requests were queued.
    pub(crate) fn begin(queued_at: impl Iterator<Item = Instant>) -> Self {
        if !is_installed() {
            return Self(None);
        }
        let begun = Instant::now();
        let waits = histogram!(ASSIGN_WAIT_SECONDS, "stage" => "queue");
        let mut size = 0_u32;
        for queued_at in queued_at {
            waits.record(begun - queued_at);
            size += 1;
        }
        histogram!(ASSIGN_BATCH_SIZE).record(size);
        Self(Some(begun))
    }

    /// `outcomes` are those of the requests that were served.
    pub(crate) fn end(self, outcomes: impl Iterator<Item = &'static str>) {
        let Some(begun) = self.0 else {
            return;
        };
        histogram!(ASSIGN_WAIT_SECONDS, "stage" => "database").record(begun.elapsed());
        assignments(outcomes);
    }
}

/// Counts requests for codes by their outcomes.
pub(crate) fn assignments(outcomes: impl Iterator<Item = &'static str>) {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome).or_default() += 1;
    }
    for (outcome, count) in counts {
        counter!(ASSIGNMENTS, "outcome" => outcome).increment(count);
    }
}

/// Counts a recorded event of an assignment.
pub(crate) fn event(event: &'static str) {
    counter!(EVENTS, "event" => event).increment(1);
}

/// Counts the rows of a finished import.
pub(crate) fn import_rows(stored: u64, rejected: u64) {
    counter!(IMPORT_ROWS, "result" => "stored").increment(stored);
    counter!(IMPORT_ROWS, "result" => "rejected").increment(rejected);
}

/// Counts an attempt to deliver a message.
pub(crate) fn webhook_attempt(is_success: bool) {
    let result = if is_success { "success" } else { "failure" };
    counter!(WEBHOOK_ATTEMPTS, "result" => result).increment(1);
}

/// Stores the number of ledger entries that the outbox has not published.
pub(crate) fn outbox_lag(entries: i64) {
    gauge!(OUTBOX_LAG).set(float(entries));
}

/// Stores the number of ledger entries that were not rolled up.
pub(crate) fn statistics_lag(entries: i64) {
    gauge!(STATISTICS_LAG).set(float(entries));
}

/// Stores the size of a pool.
pub(crate) fn pool(pool: &'static str, open: u32, idle: usize, max: u32) {
    let idle = u32::try_from(idle).unwrap_or(open).min(open);
    gauge!(POOL_CONNECTIONS, "pool" => pool, "state" => "used").set(open - idle);
    gauge!(POOL_CONNECTIONS, "pool" => pool, "state" => "idle").set(idle);
    gauge!(POOL_MAX_CONNECTIONS, "pool" => pool).set(max);
}

/// Records the time that it took to get a connection.
pub(crate) fn acquired(pool: &'static str, duration: Duration) {
    histogram!(ACQUIRE_SECONDS, "pool" => pool).record(duration);
}

/// Counts a failed call of the database.
pub(crate) fn database_error(error: &sqlx::Error) {
    let class = match error {
        sqlx::Error::Database(error) => error
            .code()
            .and_then(|code| code.get(..2).map(str::to_owned))
            .unwrap_or_else(|| "none".to_owned()),
        sqlx::Error::PoolTimedOut => "pool-timeout".to_owned(),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => "connection".to_owned(),
        _ => "none".to_owned(),
    };
    counter!(DATABASE_ERRORS, "sqlstate_class" => class).increment(1);
}

/// Counts a failed write or sync of the witness.
pub(crate) fn witness_error() {
    counter!(WITNESS_ERRORS).increment(1);
}

/// What waits in the database, of all tenants.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub queued: i64,
    pub in_progress: i64,
    pub import_oldest_queued_seconds: Option<f64>,
    pub webhook_oldest_due_seconds: Option<f64>,
    pub webhook_failing_seconds: Option<f64>,
    pub reservations_overdue: i64,
}

/// Stores what waits in the database; `None` if the database does not answer. Then the values are not known.
pub(crate) fn backlog(backlog: Option<&Backlog>) {
    gauge!(DATABASE_UP).set(u8::from(backlog.is_some()));
    let store = |gauge: ::metrics::Gauge, value: &dyn Fn(&Backlog) -> f64| {
        gauge.set(backlog.map_or(f64::NAN, value));
    };
    let seconds = |value: Option<f64>| value.unwrap_or(0.0).max(0.0);
    store(gauge!(IMPORTS, "status" => "queued"), &|b| float(b.queued));
    store(gauge!(IMPORTS, "status" => "inProgress"), &|b| {
        float(b.in_progress)
    });
    store(gauge!(IMPORT_OLDEST_QUEUED), &|b| {
        seconds(b.import_oldest_queued_seconds)
    });
    store(gauge!(WEBHOOK_OLDEST_DUE), &|b| {
        seconds(b.webhook_oldest_due_seconds)
    });
    store(gauge!(WEBHOOK_FAILING), &|b| {
        seconds(b.webhook_failing_seconds)
    });
    store(gauge!(RESERVATIONS_OVERDUE), &|b| {
        float(b.reservations_overdue)
    });
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(count: i64) -> f64 {
    count as f64
}
