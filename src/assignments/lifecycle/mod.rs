//! The lifecycle of an assignment: confirmed, sent, used, released, voided.
//!
//! Each event is an entry in the ledger of the set that served the assignment, written under the lock of that set.
//! Recording an event again succeeds without a second entry, so every call may be retried.

mod batch;
mod batcher;
mod db;
mod http;
mod sweeper;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use batcher::EventBatcher;
pub(crate) use http::find_histories;
pub(super) use http::routes;
pub(super) use sweeper::work as sweep;

use super::{Assignment, AssignmentState, id};
use crate::batching::BatchError;
use crate::http::error::{CODE_NOT_ASSIGNED, Error, OVERLOADED, UNAVAILABLE, WRONG_STATE};
use crate::http::extract::{FieldValue, Fields, FromFields};
use crate::http::fields::Reason;
use crate::ids::AssignmentKey;
use crate::text_enum::text_enum;
use crate::time_zone::Zone;

text_enum! {
    /// An event of an assignment, as it is named in a path or in a body.
    pub(crate) enum Event {
        Confirm = "confirm",
        Sent = "sent",
        Used = "used",
        Release = "release",
        Void = "void",
    }
}

text_enum! {
    /// The event of a ledger entry: the state after it, except `confirmed`, which turns a reservation into an assignment.
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
    const ALL: [Self; 5] = [
        Self::Confirm,
        Self::Sent,
        Self::Used,
        Self::Release,
        Self::Void,
    ];

    /// Returns the event of the ledger entry.
    fn ledger_event(self) -> LedgerEvent {
        match self {
            Self::Confirm => LedgerEvent::Confirmed,
            Self::Sent => LedgerEvent::Sent,
            Self::Used => LedgerEvent::Used,
            Self::Release => LedgerEvent::Released,
            Self::Void => LedgerEvent::Void,
        }
    }

    fn allowed_states(self) -> &'static str {
        match self {
            Self::Confirm => "`reserved`",
            Self::Sent => "`assigned`",
            Self::Used => "`assigned` or `sent`",
            Self::Release => "`reserved` or `assigned`",
            Self::Void => "`reserved`, `assigned` or `sent`",
        }
    }
}

/// The time of an event as reported by the caller.
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

/// Optional details of an event.
#[derive(Debug, Default)]
struct EventDetails {
    pub occurred_at: Option<DateTime<Utc>>,
    pub reason: Option<String>,
}

impl FromFields for EventDetails {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            occurred_at: fields.optional("occurredAt").map(|OccurredAt(at)| at),
            reason: fields.optional("reason").map(|Reason(reason)| reason),
        })
    }
}

/// An event to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    /// The number of the assignment in the ledger of its set.
    pub number: i64,
    /// The time in the id of the assignment. It must match the time of the row, so that a guessed id is rejected.
    pub id_millis: i64,
    pub event: Event,
    pub occurred_at: Option<DateTime<Utc>>,
    /// The id of the API key that reported the event.
    pub caller: Uuid,
    pub reason: Option<String>,
}

impl NewEvent {
    fn new(
        key: AssignmentKey,
        id: Uuid,
        event: Event,
        details: EventDetails,
        caller: Uuid,
    ) -> Self {
        Self {
            number: key.number,
            id_millis: id::millis(id),
            event,
            occurred_at: details.occurred_at,
            caller,
            reason: details.reason,
        }
    }
}

/// The outcome of a successful event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RecordOutcome {
    /// The event was added to the ledger.
    Recorded,
    /// The ledger already contained the event.
    Repeated,
}

/// The reason that an event was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the assignment does not exist")]
    NotFound,
    #[error("the state of the assignment does not allow it")]
    WrongState(AssignmentState),
    #[error(transparent)]
    NotRecorded(#[from] BatchError),
}

/// The outcome of an event and the state of the assignment after it, or the reason that it was not recorded.
pub(crate) type RecordReply = Result<(RecordOutcome, AssignmentState), RecordError>;

impl RecordError {
    fn into_error(self, assignment: Uuid, event: Event) -> Error {
        match self {
            Self::NotFound => Error::not_found("assignment"),
            Self::WrongState(state) => {
                let state = state.as_str();
                let detail = format!(
                    "The assignment is `{state}`. `{}` is only allowed when it is {}.",
                    event.as_str(),
                    event.allowed_states()
                );
                Error::refused(&WRONG_STATE, detail)
                    .with("state", state)
                    .with("assignmentId", assignment.to_string())
            }
            Self::NotRecorded(BatchError::Overloaded) => Error::refused(
                &OVERLOADED,
                "Too many requests of this tenant are waiting. Nothing was changed; try again in a moment.",
            ),
            // Events need no idempotency key: a repeated event is recognized by the ledger.
            Self::NotRecorded(BatchError::Unknown) => Error::refused(
                &UNAVAILABLE,
                "The database does not respond, so the outcome is unknown. Retry the request: each event is recorded exactly once.",
            ),
            Self::NotRecorded(BatchError::Failed) => {
                Error::Internal("an event failed; its batch was logged".to_owned())
            }
        }
    }
}

/// Returns the error for a code without an assignment, or with many of them (`is_single`).
fn code_not_assigned(is_single: bool) -> Error {
    Error::refused(
        &CODE_NOT_ASSIGNED,
        if is_single {
            "A set of type \"single\" assigns one code to many contacts. Use `assignmentId` to identify the assignment."
        } else {
            "This code of the set has never been assigned."
        },
    )
}

/// An assignment with its events in the order of the ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    #[serde(flatten)]
    pub assignment: Assignment,
    pub events: Vec<LedgerEntry>,
}

/// An entry of the ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LedgerEntry {
    pub event: LedgerEvent,
    pub recorded_at: DateTime<Utc>,
    pub occurred_at: Option<DateTime<Utc>>,
    /// Null if the service recorded the event by itself.
    pub api_key_id: Option<Uuid>,
    pub reason: Option<String>,
}
