//! Load on the service, and what came of it.
//!
//! Closed loop: each client sends its next request when it has the answer to the last. That shows the top rate. Open
//! loop: requests are due at fixed times, whether or not the service keeps up, and latency counts from when a request
//! was due. So a pause of the service is seen by all requests that it delays (no coordinated omission).

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cpu::{Cpu, DRIVER};
use super::http::{Answer, Client, Head, find_text};
use super::service::CODE_LENGTH;
use super::{Result, float, scatter};

/// Numbers the contacts of all runs, so that each is a new one.
static CONTACTS: AtomicU64 = AtomicU64::new(0);

/// What the clients of a run ask for.
#[derive(Debug, Clone)]
pub struct Work {
    /// Sets, as paths to ask in turn.
    pub heads: Vec<Head>,
    /// Items of a request; none for one that has no body.
    pub items: Items,
    /// What each answer must be.
    pub status: u16,
    /// Whether the codes of all answers must be different.
    pub codes: bool,
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

/// When a run begins to count, and when it ends.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub warm_up: Duration,
    pub measured: Duration,
}

/// What a run came to.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Items a second.
    pub rate: f64,
    /// Of requests, in seconds.
    pub p50: f64,
    pub p99: f64,
    /// Seconds of processor time for each item.
    pub cpu: [f64; 3],
}

type Code = [u8; CODE_LENGTH];

/// What one client has seen.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    codes: Vec<Code>,
}

impl Seen {
    fn check(&mut self, work: &Work, answer: &Answer<'_>) -> Result<()> {
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
            let body = String::from_utf8_lossy(answer.body);
            Err(format!("an answer lacks codes: {body}").into())
        }
    }
}

/// Runs clients that wait for nothing but their answers.
pub async fn closed(
    address: SocketAddr,
    postmaster: u32,
    work: &Work,
    clients: usize,
    span: Span,
) -> Result<Outcome> {
    let connections = connect(address, clients).await?;
    let start = Instant::now() + span.warm_up;
    let end = start + span.measured;
    let mut running = JoinSet::new();
    for mut client in connections {
        let work = work.clone();
        running.spawn(async move {
            let mut seen = Seen::default();
            let mut body = String::new();
            for head in work.heads.iter().cycle() {
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
    // While it warms up the processes it needs are started, so that none of their time is missed.
    tokio::time::sleep_until(start.into()).await;
    let before = Cpu::read(postmaster);
    tokio::time::sleep_until(end.into()).await;
    let cpu = Cpu::read(postmaster).since(before);
    let latencies = gather(running).await?;
    Ok(outcome(latencies, work, span, cpu))
}

/// Runs clients whose requests are due `rate` times a second, all together.
pub async fn open(
    address: SocketAddr,
    postmaster: u32,
    work: &Work,
    clients: usize,
    rate: f64,
    span: Span,
) -> Result<Outcome> {
    let connections = connect(address, clients).await?;
    let begin = Instant::now();
    let start = begin + span.warm_up;
    let end = start + span.measured;
    let due = move |number: u64| begin + Duration::from_secs_f64(float(number) / rate);
    let total = (0..u64::MAX)
        .find(|number| due(*number) >= end)
        .unwrap_or(0);
    // How many requests have become due but were not begun.
    let waiting = Arc::new(Semaphore::new(0));
    let clock = std::thread::Builder::new().name(DRIVER.to_owned()).spawn({
        let waiting = Arc::clone(&waiting);
        // Tokio's timers know milliseconds only, and requests are due several times in each.
        move || {
            for number in 0..total {
                std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
                waiting.add_permits(1);
            }
            // So that each client learns that nothing more will be due.
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
            let mut seen = Seen::default();
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

/// Waits for all clients. No code may have come twice.
async fn gather(mut running: JoinSet<Result<Seen>>) -> Result<Vec<Duration>> {
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
        return Err(format!("the code {code} was handed out twice").into());
    }
    Ok(latencies)
}

fn outcome(mut latencies: Vec<Duration>, work: &Work, span: Span, cpu: Cpu) -> Outcome {
    latencies.sort_unstable();
    let items = float(latencies.len() as u64) * f64::from(work.items.count());
    Outcome {
        rate: items / span.measured.as_secs_f64(),
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        cpu: [cpu.driver, cpu.service, cpu.postgresql].map(|time| time.as_secs_f64() / items),
    }
}

/// Of values in order: the least that is not below `percent` of them.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .map_or(f64::NAN, Duration::as_secs_f64)
}

/// The body of a request for a code.
fn assignment(body: &mut String, contact: u64) {
    // Ids as shops have them: all different, in no order.
    write!(
        body,
        r#"{{"contactId":"{:016x}{:08x}","workflowId":"birthday-2026"}}"#,
        scatter(contact),
        contact
    )
    .expect("a string takes every write");
}
