//! Assignments: each single-use code is assigned to exactly one contact, once per idempotency key.
//!
//! * `assign`: assigns codes. The log is append-only, and the database functions `assign_plain` and `assign_batch` are its only
//!   writers.
//! * `lifecycle`: the later events of an assignment, in a ledger that is also append-only.
//! * `list`: lists and exports assignments.
//!
//! Erasing a contact (`contacts`) rewrites texts that callers sent, and nothing else.

mod assign;
pub(crate) mod id;
mod lifecycle;
mod list;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use lifecycle::{History, find_histories};
pub(crate) use list::{AssignmentCursor, TimeRange, export, find, list_of_contact};

use crate::background::Tasks;
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::extract::{FieldValue, check_text, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::load::AdmissionControl;
use crate::tenants::auth::Auth;
use crate::text::MAX_CODE_CHARS;
use crate::text_enum::text_enum;
use crate::witness::Witness;
use assign::AssignBatcher;
use lifecycle::EventBatcher;

feature_state! {
    /// State of the routes and the sweeper of assignments.
    Assignments {
        auth: Auth,
        database: Database,
        assigner: AssignBatcher,
        events: EventBatcher,
    }
}

impl Assignments {
    pub(crate) fn new(
        auth: &Auth,
        database: &Database,
        dirty_sets: &DirtySets,
        admission: &AdmissionControl,
        witness: &Witness,
        tasks: &Tasks,
    ) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            assigner: AssignBatcher::new(database, admission, dirty_sets, witness, tasks),
            events: EventBatcher::new(database, admission, dirty_sets, tasks),
        }))
    }

    /// Closes the batchers: their tasks end after they have processed their remaining items.
    pub(crate) fn close(&self) {
        self.assigner.close();
        self.events.close();
    }
}

pub(crate) fn routes(state: Assignments) -> Routes {
    assign::routes()
        .merge(lifecycle::routes())
        .merge(list::routes())
        .with_state(state)
}

pub(crate) fn spawn(state: &Assignments, tasks: &Tasks) {
    tasks.spawn(lifecycle::sweep(state.database.clone(), tasks.clone()));
}

/// A code assigned to a contact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Assignment {
    pub id: Uuid,
    pub coupon_code: String,
    /// The set that the code is from.
    pub coupon_set_id: Uuid,
    /// The set in the request. It differs from `coupon_set_id` if a child set served the request.
    pub requested_coupon_set_id: Uuid,
    pub contact_id: String,
    pub state: AssignmentState,
    pub assigned_at: DateTime<Utc>,
    /// Null unless the state is `reserved`.
    pub reserved_until: Option<DateTime<Utc>>,
    /// The time from which the code is no longer valid. Null if the validity has no end, or if the end is only known when
    /// the reservation is confirmed.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time zone of the set that the code is from.
    pub timezone: String,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
    /// Attributes imported with the code: names and values, all text.
    pub attributes: Option<Value>,
}

text_enum! {
    /// The state of an assignment: `reserved`, then `assigned`, `sent`, `used`; or one of the other end states.
    pub(crate) enum AssignmentState {
        Reserved = "reserved",
        Assigned = "assigned",
        Sent = "sent",
        Used = "used",
        /// The code returned to its set and may since have been assigned to another contact.
        Released = "released",
        /// The code must not be used and is never assigned again.
        Void = "void",
        /// The reservation was not confirmed in time, so the code returned to its set.
        Expired = "expired",
    }
}

/// Opaque id of a contact: 1 to 255 characters, stored unchanged.
#[derive(Debug)]
pub(crate) struct ContactId(pub String);

impl FieldValue for ContactId {
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::String(id) = value else {
            return Err("This must be a string.".to_owned());
        };
        check_text(&id, 255).map(|()| Self(id))
    }
}

/// A code, exactly as it was imported.
struct Code(String);

impl FieldValue for Code {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, MAX_CODE_CHARS).map(Self)
    }
}
