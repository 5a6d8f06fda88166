//! A tenant that floods the service: clients in a closed loop, each with requests of one kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::support::cpu::DRIVER;
use crate::support::http::{Client, Head, find_text};
use crate::support::load::{Items, Work};
use crate::support::service::{Service, csv};
use crate::support::{Result, float};

/// Clients of a flood.
pub const CLIENTS: usize = 32;
/// Assignments of a request in a batch.
const BATCH: u32 = 1000;
/// Codes of an uploaded file, and of a pasted list.
pub const FILE_CODES: u64 = 100_000;
const PASTED_CODES: u64 = 1000;

/// Number of the next imported code, so that each is new.
static CODES: AtomicU64 = AtomicU64::new(10_000_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Assign,
    AssignBatches,
    List,
    Export,
    Import,
    /// A part of the clients for each of the others.
    All,
}

const EACH: [Kind; 5] = [
    Kind::Assign,
    Kind::AssignBatches,
    Kind::List,
    Kind::Export,
    Kind::Import,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Assign => "assigns",
            Self::AssignBatches => "assigns in batches of 1,000",
            Self::List => "lists and look-ups",
            Self::Export => "exports",
            Self::Import => "imports",
            Self::All => "all at once",
        }
    }
}

/// The tenant, with its sets.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub service: Service,
    /// Sets to assign from, and to export.
    pub sets: Vec<String>,
    /// A large set to list.
    pub large: String,
    /// A set to import into.
    pub filled: String,
}

impl Tenant {
    /// Creates the sets of a tenant: some with this number of codes each, and a large one.
    pub async fn fill(service: Service, sets: u64, codes: u64, large: u64) -> Result<Self> {
        let create = async |name: &str| {
            let fields = format!(r#""name":"{name}","type":"multiple""#);
            service.create_set(&fields).await
        };
        let large_set = create("large").await?;
        service.import(&large_set, csv(0..large).as_bytes()).await?;
        Ok(Self {
            large: large_set,
            filled: create("filled").await?,
            sets: service.create_sets(sets, codes).await?,
            service,
        })
    }
}

/// Responses to a flood per second.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    pub served: f64,
    /// Status 429.
    pub refused: f64,
    /// Status 503, and connections that the service closed.
    pub unavailable: f64,
}

#[derive(Debug, Default)]
struct Counts {
    served: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

/// A flood that lasts until it is stopped.
#[derive(Debug)]
pub struct Flood {
    started: Instant,
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Flood {
    /// Starts the clients on a thread of their own.
    pub fn start(tenant: &Tenant, kind: Kind) -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(DRIVER.to_owned()).spawn({
            let (tenant, counts) = (tenant.clone(), Arc::clone(&counts));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(run(&tenant, kind, &counts, stopped))
            }
        })?;
        Ok(Self {
            started: Instant::now(),
            counts,
            stop,
            thread,
        })
    }

    /// Ends the flood, and the requests under way with their connections.
    pub fn stop(self) -> Result<Rates> {
        let seconds = self.started.elapsed().as_secs_f64();
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| "a flood panicked")??;
        let rate = |count: &AtomicU64| float(count.load(Ordering::Relaxed)) / seconds;
        Ok(Rates {
            served: rate(&self.counts.served),
            refused: rate(&self.counts.refused),
            unavailable: rate(&self.counts.unavailable),
        })
    }
}

async fn run(
    tenant: &Tenant,
    kind: Kind,
    counts: &Arc<Counts>,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let kind = match kind {
            Kind::All => EACH[number % EACH.len()],
            kind => kind,
        };
        let requests = Requests::new(tenant.clone(), kind, number);
        clients.spawn(send(requests, Arc::clone(counts)));
    }
    tokio::select! {
        _ = stopped => Ok(()),
        Some(failed) = clients.join_next() => failed?,
    }
}

/// Sends requests one after another. Ends only with a failure.
async fn send(mut requests: Requests, counts: Arc<Counts>) -> Result<()> {
    let address = requests.tenant.service.address;
    let mut client = Client::connect(address).await?;
    loop {
        let head = requests.next();
        // An upload that is refused before its body was read ends the connection.
        let Ok(answer) = client.send(&head, requests.body.as_bytes()).await else {
            counts.unavailable.fetch_add(1, Ordering::Relaxed);
            client = Client::connect(address).await?;
            continue;
        };
        let count = match answer.status {
            429 => &counts.refused,
            503 => &counts.unavailable,
            _ => {
                requests.follow(answer.body);
                &counts.served
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        if !matches!(answer.status, 200 | 201 | 429 | 503) {
            answer.expect(200)?;
        }
    }
}

/// The requests of one client.
struct Requests {
    tenant: Tenant,
    kind: Kind,
    assign: Work,
    /// Number of the next request.
    number: usize,
    /// Paths of the next pages of the lists, if they are not the first.
    pages: [Option<String>; 2],
    body: String,
}

impl Requests {
    fn new(tenant: Tenant, kind: Kind, client: usize) -> Self {
        Self {
            assign: Work::assign(&tenant.service.key, &tenant.sets),
            tenant,
            kind,
            // Each client begins elsewhere.
            number: client * 7,
            pages: [None, None],
            body: String::new(),
        }
    }

    /// Writes the next request: returns its head, and sets its body.
    fn next(&mut self) -> Head {
        self.number += 1;
        self.body.clear();
        match self.kind {
            Kind::Assign => {
                self.assign.items.write(&mut self.body);
                self.assign.heads[self.number % self.assign.heads.len()].clone()
            }
            Kind::AssignBatches => {
                Items::Batch(BATCH).write(&mut self.body);
                let set = &self.tenant.sets[self.number % self.tenant.sets.len()];
                self.post(&format!("{set}/assignments/batch"), "application/json")
            }
            Kind::List => self.list(),
            Kind::Export => {
                let set = &self.tenant.sets[self.number % self.tenant.sets.len()];
                self.get(&format!("/v1/coupon-sets/{set}/coupons?format=csv"))
            }
            Kind::Import | Kind::All => self.import(),
        }
    }

    /// Pages of two lists, each following the last, sets with forecasts, and look-ups of codes.
    fn list(&mut self) -> Head {
        let place = self.number % 4;
        if let Some(page) = self.pages.get_mut(place).and_then(Option::take) {
            return self.get(&page);
        }
        match place {
            0 => {
                let set = &self.tenant.large;
                self.get(&format!("/v1/coupon-sets/{set}/coupons?limit=100"))
            }
            1 => self.get("/v1/assignments?limit=100"),
            2 => self.get("/v1/coupon-sets?limit=100&include=forecast"),
            _ => {
                let number = self.number as u64 % 1000;
                let file = csv(number..number + 1);
                let code = file.lines().nth(1).unwrap_or_default();
                self.get(&format!("/v1/coupons?code={code}"))
            }
        }
    }

    /// Follows a list to its next page.
    fn follow(&mut self, body: &[u8]) {
        let page = self.pages.get_mut(self.number % 4);
        if self.kind == Kind::List
            && let Some(page) = page
            && let Ok(body) = std::str::from_utf8(body)
        {
            *page = find_text(body, "next").map(|(path, _)| path.to_owned());
        }
    }

    /// A file, and a pasted list in every other request.
    fn import(&mut self) -> Head {
        let (codes, content_type) = if self.number.is_multiple_of(2) {
            (FILE_CODES, "text/csv")
        } else {
            (PASTED_CODES, "text/plain")
        };
        let first = CODES.fetch_add(codes, Ordering::Relaxed);
        self.body = csv(first..first + codes);
        self.post(&format!("{}/imports", self.tenant.filled), content_type)
    }

    fn get(&self, path: &str) -> Head {
        Head::get(path, &self.tenant.service.key)
    }

    fn post(&self, path: &str, content_type: &str) -> Head {
        let path = format!("/v1/coupon-sets/{path}");
        Head::post(&path, &self.tenant.service.key, content_type)
    }
}
