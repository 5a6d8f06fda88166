//! Observations of the clients and records of the service, in the form that the checker compares.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Microseconds of the machine's clock, which PostgreSQL shares.
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

/// A set of the trial, identified everywhere by its index in `SETS`. Children come first.
#[derive(Debug)]
pub struct SetPlan {
    pub name: &'static str,
    /// True if its codes are imported; otherwise it is an unlimited `single` set.
    pub is_deck: bool,
    pub on_repeat: OnRepeat,
    pub child: Option<usize>,
    /// Percentage of requests for this set.
    pub share: u64,
}

pub const SETS: [SetPlan; 6] = [
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
) -> SetPlan {
    SetPlan {
        name,
        is_deck,
        on_repeat,
        child,
        share,
    }
}

/// The sets that may serve a request for this one, in order.
pub fn chain(set: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(set), |set| SETS[*set].child)
}

pub const ENDLESS_CODE: &str = "ENDLESS";

/// The code with this number in a deck, counted from 0.
pub fn code(set: usize, number: u64) -> String {
    format!("{}-{number:07}", SETS[set].name)
}

pub fn key_text(key: u64) -> String {
    format!("key-{key}")
}

/// Hash of a key, as the log stores it.
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

/// State of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Reserved,
    Assigned,
    Sent,
    Used,
    Released,
    Void,
    Expired,
}

impl State {
    const ALL: [(Self, &str); 7] = [
        (Self::Reserved, "reserved"),
        (Self::Assigned, "assigned"),
        (Self::Sent, "sent"),
        (Self::Used, "used"),
        (Self::Released, "released"),
        (Self::Void, "void"),
        (Self::Expired, "expired"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(_, name)| *name == text);
        known.map(|(state, _)| state)
    }

    /// Stage of the lifecycle. It never decreases; the final states exclude each other.
    pub fn step(self) -> u8 {
        match self {
            Self::Reserved => 0,
            Self::Assigned => 1,
            Self::Sent => 2,
            Self::Used | Self::Released | Self::Void | Self::Expired => 3,
        }
    }

    /// True if the contact holds the code.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Released | Self::Void | Self::Expired)
    }

    pub fn gives_back(self) -> bool {
        matches!(self, Self::Released | Self::Expired)
    }

    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Reserved => matches!(
                next,
                Self::Assigned | Self::Released | Self::Void | Self::Expired
            ),
            Self::Assigned => matches!(next, Self::Sent | Self::Used | Self::Released | Self::Void),
            Self::Sent => matches!(next, Self::Used | Self::Void),
            _ => false,
        }
    }
}

/// Event that a client records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Confirm,
    Sent,
    Used,
    Release,
    Void,
}

pub const EVENTS: [Event; 5] = [
    Event::Confirm,
    Event::Sent,
    Event::Used,
    Event::Release,
    Event::Void,
];

impl Event {
    pub fn verb(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Sent => "sent",
            Self::Used => "used",
            Self::Release => "release",
            Self::Void => "void",
        }
    }

    pub fn leads_to(self) -> State {
        match self {
            Self::Confirm => State::Assigned,
            Self::Sent => State::Sent,
            Self::Used => State::Used,
            Self::Release => State::Released,
            Self::Void => State::Void,
        }
    }
}

/// Seconds for which a key reserves, or `None` if it assigns at once. Some run out during a trial, the others never do.
pub fn reserve_seconds(key: u64) -> Option<u64> {
    match key % 20 {
        3 | 9 | 14 => Some(1 + key / 20 % 3),
        5 | 12 | 17 => Some(86_400),
        _ => None,
    }
}

/// An assigned code, as in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedCode {
    pub id: Uuid,
    pub code: Box<str>,
    /// The set that served it.
    pub served: usize,
    pub outcome: Outcome,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeAnswer {
    Assigned(AssignedCode),
    /// No code was left.
    Exhausted,
    /// The contact holds this assignment, and the set assigns no second one.
    Refused(Uuid),
    /// The assignment of the key has ended in this state.
    Ended(Uuid, State),
    /// No response, or one with an unknown outcome.
    Unknown,
    /// A response that is wrong for this request.
    Wrong(Box<str>),
}

/// One transmission of one item.
#[derive(Debug, Clone)]
pub struct Call {
    pub set: usize,
    pub key: u64,
    pub contact: u64,
    pub sent: Moment,
    pub ended: Moment,
    pub answer: CodeAnswer,
}

/// Result of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventAnswer {
    /// The state in the response; `is_new` is true if this request is known to have recorded the event.
    Done {
        state: State,
        is_new: bool,
    },
    WrongState(State),
    Unknown,
    Wrong(Box<str>),
}

/// One transmission of one event.
#[derive(Debug, Clone)]
pub struct EventCall {
    pub id: Uuid,
    pub event: Event,
    pub sent: Moment,
    pub ended: Moment,
    pub answer: EventAnswer,
}

/// An entry of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    pub served: usize,
    pub number: i64,
    /// Number of the assignment in the same ledger.
    pub of: i64,
    pub state: State,
    pub at: Moment,
    /// End of a reservation.
    pub until: Option<Moment>,
}

/// An assignment in the log.
#[derive(Debug, Clone)]
pub struct LogEntry {
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
    /// State in the API's list.
    pub state: State,
}

/// Imported codes of a set, and the time from which they were known to be available.
#[derive(Debug, Clone, Copy)]
pub struct Refill {
    pub set: usize,
    pub codes: u64,
    pub known: Moment,
}

/// The counters of a set; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub quantity: Option<u64>,
    pub available: Option<u64>,
    pub reserved: u64,
    pub assigned: u64,
    pub void: u64,
    pub expired: u64,
}

/// All evidence at the end of a trial.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Start of the load.
    pub began: Moment,
    pub calls: Vec<Call>,
    pub event_calls: Vec<EventCall>,
    /// Number of delivered codes, by set: the codes below it.
    pub delivered: [u64; SETS.len()],
    pub refills: Vec<Refill>,
    pub log: Vec<LogEntry>,
    /// Entries of the ledgers, without the assignments themselves.
    pub changes: Vec<StateChange>,
    /// Open reservations, by set and number.
    pub reservations: HashSet<(usize, i64)>,
    /// Violated rules of the tables, as the owner sees them.
    pub broken: Vec<String>,
    /// Rows of the log that the API does not list.
    pub unlisted: Vec<(usize, i64)>,
    /// Keys answered with the assignment of another key: (requested set, key) to (set, number).
    pub shared: HashMap<(usize, Uuid), (usize, i64)>,
    pub counters: [Counters; SETS.len()],
    /// Successful rows of all imports, by set.
    pub imported: [u64; SETS.len()],
}
