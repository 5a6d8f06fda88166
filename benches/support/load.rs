//! Load on the service, and its outcome.
//!
//! Closed loop: each client sends its next request when it has the response to the last. This shows the maximum rate.
//! Open loop: requests are due at fixed times, independent of whether the service keeps up. Latency counts from the
//! time at which a request was due. So a pause of the service counts for all requests that it delays (no coordinated
//! omission).

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cpu::{Cpu, DRIVER};
use super::http::{Client, Head, Response, find_text};
use super::service::CODE_LENGTH;
use super::{Result, float, scatter};

/// Counter of contacts across all runs, so that each contact is new.
static CONTACTS: AtomicU64 = AtomicU64::new(0);

/// Requests of the clients of a run.
#[derive(Debug, Clone)]
pub struct Work {
    /// Sets, as paths to request in turn.
    pub heads: Vec<Head>,
    /// Items of a request; `None` for a request without a body.
    pub items: Items,
    /// Expected status of each response.
    pub status: u16,
    /// True if the codes of all responses must be distinct.
    pub codes: bool,
}

impl Work {
    /// Requests of one code from each of these sets in turn. The sets may hold the same codes.
    pub fn assign(key: &str, sets: &[String]) -> Self {
        let head = |set| {
            let path = format!("/v1/coupon-sets/{set}/assignments");
            Head::post(&path, key, "application/json")
        };
        Self {
            heads: sets.iter().map(head).collect(),
            items: Items::One,
            status: 201,
            codes: false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Items {
    None,
    One,
    Batch(u32),
}

impl Items {
    fn count(self) -> u32 {
        match self {
            Self::None | Self::One => 1,
            Self::Batch(count) => count,
        }
    }

    pub fn write(self, body: &mut String) {
        let next = || CONTACTS.fetch_add(1, Ordering::Relaxed);
        body.clear();
        match self {
            Self::None => {}
            Self::One => assignment(body, next()),
            Self::Batch(count) => {
                body.push_str(r#"{"items":["#);
                for index in 0..count {
                    if index > 0 {
                        body.push(',');
                    }
                    assignment(body, next());
                }
                body.push_str("]}");
            }
        }
    }
}

/// Start and end of the measured part of a run.
#[derive(Debug, Clone, Copy)]
pub struct TimeRange {
    pub warm_up: Duration,
    pub measured: Duration,
}

/// Outcome of a run.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Items per second.
    pub rate: f64,
    /// Latency of requests, in seconds.
    pub p50: f64,
    pub p99: f64,
    /// Seconds of processor time per item.
    pub cpu: [f64; 3],
}

type Code = [u8; CODE_LENGTH];

/// Observations of one client.
#[derive(Default)]
struct ClientLog {
    latencies: Vec<Duration>,
    codes: Vec<Code>,
}

impl ClientLog {
    fn check(&mut self, work: &Work, answer: &Response<'_>) -> Result<()> {
        answer.expect(work.status)?;
        if !work.codes {
            return Ok(());
        }
        let before = self.codes.len();
        let mut rest = std::str::from_utf8(answer.body)?;
        while let Some((code, after)) = find_text(rest, "couponCode") {
            self.codes.push(code.as_bytes().try_into()?);
            rest = after;
        }
        if self.codes.len() - before == work.items.count() as usize {
            Ok(())
        } else {
            let start = &answer.body[..answer.body.len().min(1000)];
            let start = String::from_utf8_lossy(start);
            Err(format!("an answer lacks codes; it begins with {start}").into())
        }
    }
}

/// Runs clients in a closed loop.
pub async fn closed(
    address: SocketAddr,
    postmaster: u32,
    work: &Work,
    clients: usize,
    span: TimeRange,
) -> Result<Outcome> {
    let connections = connect(address, clients).await?;
    let start = Instant::now() + span.warm_up;
    let end = start + span.measured;
    let mut running = JoinSet::new();
    for (number, mut client) in connections.into_iter().enumerate() {
        let work = work.clone();
        running.spawn(async move {
            let mut seen = ClientLog::default();
            let mut body = String::new();
            // Each client begins elsewhere, so that they do not request the same set at the same time.
            let begin = number * work.heads.len() / clients;
            for head in work.heads.iter().cycle().skip(begin) {
                work.items.write(&mut body);
                let sent = Instant::now();
                if sent >= end {
                    break;
                }
                let answer = client.send(head, body.as_bytes()).await?;
                let answered = Instant::now();
                seen.check(&work, &answer)?;
                if answered >= start && answered < end {
                    seen.latencies.push(answered - sent);
                }
            }
            Result::Ok(seen)
        });
    }
    // The processes that the load needs start during the warm-up, so that all their time is counted.
    tokio::time::sleep_until(start.into()).await;
    let before = Cpu::read(postmaster);
    tokio::time::sleep_until(end.into()).await;
    let cpu = Cpu::read(postmaster).since(before);
    let latencies = gather(running).await?;
    Ok(outcome(latencies, work, span, cpu))
}

/// Runs clients in an open loop; `rate` requests per second are due, all clients together.
pub async fn open(
    address: SocketAddr,
    postmaster: u32,
    work: &Work,
    clients: usize,
    rate: f64,
    span: TimeRange,
) -> Result<Outcome> {
    let connections = connect(address, clients).await?;
    let begin = Instant::now();
    let start = begin + span.warm_up;
    let end = start + span.measured;
    let due = move |number: u64| begin + Duration::from_secs_f64(float(number) / rate);
    let total = (0..u64::MAX)
        .find(|number| due(*number) >= end)
        .unwrap_or(0);
    // Number of requests that are due but not started.
    let waiting = Arc::new(Semaphore::new(0));
    let clock = std::thread::Builder::new().name(DRIVER.to_owned()).spawn({
        let waiting = Arc::clone(&waiting);
        // Tokio's timers have millisecond resolution, and several requests are due in each millisecond.
        move || {
            for number in 0..total {
                std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
                waiting.add_permits(1);
            }
            // Each client learns that no more requests will be due.
            waiting.add_permits(clients);
        }
    })?;
    let next = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for mut client in connections {
        let work = work.clone();
        let waiting = Arc::clone(&waiting);
        let next = Arc::clone(&next);
        running.spawn(async move {
            let mut seen = ClientLog::default();
            let mut body = String::new();
            loop {
                waiting.acquire().await?.forget();
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return Result::Ok(seen);
                }
                work.items.write(&mut body);
                let place = usize::try_from(number)? % work.heads.len();
                let answer = client.send(&work.heads[place], body.as_bytes()).await?;
                let answered = Instant::now();
                seen.check(&work, &answer)?;
                if due(number) >= start {
                    seen.latencies.push(answered - due(number));
                }
            }
        });
    }
    tokio::time::sleep_until(start.into()).await;
    let before = Cpu::read(postmaster);
    tokio::time::sleep_until(end.into()).await;
    let cpu = Cpu::read(postmaster).since(before);
    let latencies = gather(running).await?;
    clock.join().map_err(|_| "the clock panicked")?;
    Ok(outcome(latencies, work, span, cpu))
}

async fn connect(address: SocketAddr, clients: usize) -> Result<Vec<Client>> {
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        connections.push(Client::connect(address).await?);
    }
    Ok(connections)
}

/// Waits for all clients. Fails if a code occurred twice.
async fn gather(mut running: JoinSet<Result<ClientLog>>) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut codes = Vec::new();
    while let Some(seen) = running.join_next().await {
        let seen = seen??;
        latencies.extend(seen.latencies);
        codes.extend(seen.codes);
    }
    codes.sort_unstable();
    let twice = codes
        .iter()
        .zip(codes.iter().skip(1))
        .find(|(one, next)| one == next);
    if let Some((code, _)) = twice {
        let code = String::from_utf8_lossy(code).into_owned();
        return Err(format!("the code {code} was assigned twice").into());
    }
    Ok(latencies)
}

fn outcome(mut latencies: Vec<Duration>, work: &Work, span: TimeRange, cpu: Cpu) -> Outcome {
    latencies.sort_unstable();
    let items = float(latencies.len() as u64) * f64::from(work.items.count());
    Outcome {
        rate: items / span.measured.as_secs_f64(),
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        cpu: [cpu.driver, cpu.service, cpu.postgresql].map(|time| time.as_secs_f64() / items),
    }
}

/// The smallest of the sorted values that is not below `percent` percent of them.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .map_or(f64::NAN, Duration::as_secs_f64)
}

/// Writes the body of an assignment request.
fn assignment(body: &mut String, contact: u64) {
    // Ids like those of shops: all distinct, in no order.
    write!(
        body,
        r#"{{"contactId":"{:016x}{:08x}","workflowId":"birthday-2026"}}"#,
        scatter(contact),
        contact
    )
    .expect("a string takes every write");
}
