//! What becomes of an assignment: it is confirmed, sent, used, given back, voided.
//!
//! Each event is an entry in the ledger of the set that served, written under that set's lock. An event that was recorded
//! before is answered as if it had just been, so every call may be repeated.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::id::{self, Place};
use super::{Assignment, Refusal, State};
use crate::error::{CODE_NOT_ASSIGNED, Error, WRONG_STATE};
use crate::extract::{FieldValue, Fields, FromFields, text};
use crate::text_enum::text_enum;
use crate::time_zone::Zone;

text_enum! {
    /// What a caller says of an assignment, as it stands in a path and in a body.
    pub(crate) enum Event {
        Confirm = "confirm",
        Sent = "sent",
        Used = "used",
        Release = "release",
        Void = "void",
    }
}

text_enum! {
    /// The event of an entry of the ledger: the state that it led to, but `confirmed` for the one that ends a reservation well.
    pub(crate) enum LedgerEvent {
        Reserved = "reserved",
        Assigned = "assigned",
        Confirmed = "confirmed",
        Sent = "sent",
        Used = "used",
        Released = "released",
        Void = "void",
        Expired = "expired",
    }
}

impl Event {
    /// As the ledger has it.
    pub(super) fn recorded(self) -> LedgerEvent {
        match self {
            Self::Confirm => LedgerEvent::Confirmed,
            Self::Sent => LedgerEvent::Sent,
            Self::Used => LedgerEvent::Used,
            Self::Release => LedgerEvent::Released,
            Self::Void => LedgerEvent::Void,
        }
    }

    fn needs(self) -> &'static str {
        match self {
            Self::Confirm => "`reserved`",
            Self::Sent => "`assigned`",
            Self::Used => "`assigned` or `sent`",
            Self::Release => "`reserved` or `assigned`",
            Self::Void => "`reserved`, `assigned` or `sent`",
        }
    }
}

/// When it happened, by the caller's word.
#[derive(Debug, Clone, Copy)]
struct OccurredAt(DateTime<Utc>);

impl FieldValue for OccurredAt {
    fn from_value(value: Value) -> Result<Self, String> {
        let text = value.as_str().unwrap_or_default();
        DateTime::parse_from_rfc3339(text)
            .ok()
            .and_then(|_| Zone::UTC.read_moment(text).ok())
            .map(Self)
            .ok_or_else(|| "This must be a time such as \"2026-12-31T18:00:00Z\".".to_owned())
    }
}

/// Why, in the caller's words: 1 to 500 characters.
#[derive(Debug)]
pub(crate) struct Reason(pub String);

impl FieldValue for Reason {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 500).map(Self)
    }
}

/// What comes with an event.
#[derive(Debug, Default)]
pub(super) struct Remark {
    pub occurred_at: Option<DateTime<Utc>>,
    pub reason: Option<String>,
}

impl FromFields for Remark {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            occurred_at: fields.optional("occurredAt").map(|OccurredAt(at)| at),
            reason: fields.optional("reason").map(|Reason(reason)| reason),
        })
    }
}

/// An event on its way to the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The assignment's number in its set's ledger, and the time in its id, by which a guessed id is found out.
    pub number: i64,
    pub millis: i64,
    pub event: Event,
    pub occurred_at: Option<DateTime<Utc>>,
    /// The id of the API key that said so.
    pub caller: Uuid,
    pub reason: Option<String>,
}

impl Change {
    pub(super) fn new(place: Place, id: Uuid, event: Event, remark: Remark, caller: Uuid) -> Self {
        Self {
            number: place.number,
            millis: id::millis(id),
            event,
            occurred_at: remark.occurred_at,
            caller,
            reason: remark.reason,
        }
    }
}

/// What a change has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Recording {
    /// It is in the ledger now.
    Recorded,
    /// It was before.
    Repeated,
}

/// Why a change was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Obstacle {
    #[error("the assignment does not exist")]
    NotFound,
    #[error("the state of the assignment does not allow it")]
    WrongState(State),
    #[error("the event was not recorded")]
    Undone(Refusal),
}

/// A recorded change comes with the state of the assignment after it.
pub(crate) type Answer = Result<(Recording, State), Obstacle>;

impl Obstacle {
    pub(super) fn into_error(self, assignment: Uuid, event: Event) -> Error {
        match self {
            Self::NotFound => Error::not_found("assignment"),
            Self::WrongState(state) => {
                let state = state.as_str();
                let detail = format!(
                    "The assignment is `{state}`. `{}` is only allowed when it is {}.",
                    event.as_str(),
                    event.needs()
                );
                Error::refused(&WRONG_STATE, detail)
                    .with("state", state)
                    .with("assignmentId", assignment.to_string())
            }
            Self::Undone(refusal) => refusal.into_error_of_event(),
        }
    }
}

/// The error for a code that leads to no assignment, or to many.
pub(super) fn code_not_assigned(is_single: bool) -> Error {
    Error::refused(
        &CODE_NOT_ASSIGNED,
        if is_single {
            "A set of type \"single\" assigns one code to many contacts. Use `assignmentId` to identify the assignment."
        } else {
            "This code of the set has never been assigned."
        },
    )
}

/// An assignment with all that happened to it, in the order of the ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    #[serde(flatten)]
    pub assignment: Assignment,
    pub events: Vec<Entry>,
}

/// An entry of the ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub event: LedgerEvent,
    pub recorded_at: DateTime<Utc>,
    pub occurred_at: Option<DateTime<Utc>>,
    /// Null if the service did it by itself.
    pub api_key_id: Option<Uuid>,
    pub reason: Option<String>,
}
