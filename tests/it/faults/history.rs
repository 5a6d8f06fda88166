//! What the clients saw and what the service has on record, in the form that the checker compares.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Microseconds by the machine's clock, which PostgreSQL shares.
pub type Moment = i64;

pub fn now() -> Moment {
    chrono::Utc::now().timestamp_micros()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRepeat {
    NewCode,
    SameCode,
    Refuse,
}

impl OnRepeat {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewCode => "newCode",
            Self::SameCode => "sameCode",
            Self::Refuse => "refuse",
        }
    }
}

/// A set of the trial. Its place in `SETS` stands for it everywhere; children come first.
#[derive(Debug)]
pub struct Plan {
    pub name: &'static str,
    /// Whether its codes are imported; the other is a `single` set without a limit.
    pub is_deck: bool,
    pub on_repeat: OnRepeat,
    pub child: Option<usize>,
    /// Of 100 requests so many ask for this set.
    pub share: u64,
}

pub const SETS: [Plan; 6] = [
    plan("endless", false, OnRepeat::NewCode, None, 0),
    plan("shared", true, OnRepeat::NewCode, Some(0), 10),
    plan("spring", true, OnRepeat::NewCode, Some(1), 35),
    plan("autumn", true, OnRepeat::NewCode, Some(1), 35),
    plan("same", true, OnRepeat::SameCode, None, 10),
    plan("once", true, OnRepeat::Refuse, None, 10),
];

const fn plan(
    name: &'static str,
    is_deck: bool,
    on_repeat: OnRepeat,
    child: Option<usize>,
    share: u64,
) -> Plan {
    Plan {
        name,
        is_deck,
        on_repeat,
        child,
        share,
    }
}

/// The sets that may serve a request of one, in order.
pub fn chain(set: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(set), |set| SETS[*set].child)
}

pub const ENDLESS_CODE: &str = "ENDLESS";

/// The codes of a deck are counted from 0.
pub fn code(set: usize, number: u64) -> String {
    format!("{}-{number:07}", SETS[set].name)
}

pub fn key_text(key: u64) -> String {
    format!("key-{key}")
}

/// What the log keeps of a key.
pub fn key_hash(key: u64) -> Uuid {
    let digest = Sha256::digest(key_text(key));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

pub fn contact_text(contact: u64) -> String {
    format!("contact-{contact}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Assigned,
    Replayed,
    AlreadyAssigned,
}

/// A code in the hands of a contact, as an answer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub id: Uuid,
    pub code: Box<str>,
    /// The set that served.
    pub served: usize,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Given(Given),
    /// There was no code left.
    Exhausted,
    /// The contact holds this assignment, and the set gives no second one.
    Refused(Uuid),
    /// None, or one that says that it is unknown.
    Unknown,
    /// One that this request may not get.
    Wrong(Box<str>),
}

/// One item that was sent once.
#[derive(Debug, Clone)]
pub struct Call {
    pub set: usize,
    pub key: u64,
    pub contact: u64,
    pub sent: Moment,
    pub ended: Moment,
    pub answer: Answer,
}

/// A row of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: Uuid,
    pub served: usize,
    pub requested: usize,
    pub contact: Box<str>,
    pub code: Box<str>,
    pub at: Moment,
    pub number: i64,
    pub lot: i32,
    pub ordinal: i32,
    pub key_hash: Uuid,
}

/// Codes that came into a set, and when it was known that they can be handed out.
#[derive(Debug, Clone, Copy)]
pub struct Refill {
    pub set: usize,
    pub codes: u64,
    pub known: Moment,
}

/// The counters of a set; null is without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub quantity: Option<u64>,
    pub available: Option<u64>,
    pub assigned: u64,
}

/// Everything that is known when the trial is over.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// When the load began.
    pub began: Moment,
    pub calls: Vec<Call>,
    /// Which codes were delivered: those below this number, by set.
    pub delivered: [u64; SETS.len()],
    pub refills: Vec<Refill>,
    pub log: Vec<Entry>,
    /// Rows of the log that the API does not list.
    pub unlisted: Vec<(usize, i64)>,
    /// Keys that were answered with an assignment of another key: (requested set, key) to (set, number).
    pub shared: HashMap<(usize, Uuid), (usize, i64)>,
    pub counters: [Counters; SETS.len()],
    /// Successful rows of all imports, by set.
    pub imported: [u64; SETS.len()],
}
