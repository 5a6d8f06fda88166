//! Assignments: each single-use code is handed to exactly one contact, once for each idempotency key.
//!
//! * `assign`: hands out codes. The log is append-only, and the database function `assign_batch` is its only writer.
//! * `lifecycle`: the events of an assignment after that, in a ledger that is append-only too.
//! * `list`: finds assignments, and exports them.
//!
//! Only texts that callers sent are rewritten, when a contact is erased (`contacts`).

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
use assign::AssignBatcher;
use lifecycle::EventBatcher;

feature_state! {
    /// What the routes and the sweeper of assignments work with.
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
        tasks: &Tasks,
    ) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            assigner: AssignBatcher::new(database, admission, dirty_sets, tasks),
            events: EventBatcher::new(database, admission, dirty_sets, tasks),
        }))
    }

    /// Lets the batchers end when they have answered what is queued.
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

/// The fact that a contact was given a code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Assignment {
    pub id: Uuid,
    pub coupon_code: String,
    /// The set that served.
    pub coupon_set_id: Uuid,
    /// The set that was asked: another one if a child set served.
    pub requested_coupon_set_id: Uuid,
    pub contact_id: String,
    pub state: State,
    pub assigned_at: DateTime<Utc>,
    /// Only while it is reserved.
    pub reserved_until: Option<DateTime<Utc>>,
    /// From this moment on the code is not valid; null if it is for ever, or if that is known at the confirmation only.
    pub expires_at: Option<DateTime<Utc>>,
    /// Of the set that served.
    pub timezone: String,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
    /// What the import kept with the code: names and values, all text.
    pub attributes: Option<Value>,
}

text_enum! {
    /// Where an assignment is in its life: `reserved`, then `assigned`, `sent`, `used`; or one of the ends before that.
    pub(crate) enum State {
        Reserved = "reserved",
        Assigned = "assigned",
        Sent = "sent",
        Used = "used",
        /// Given back: the code may be another's by now.
        Released = "released",
        /// Not to be used, and never to be given again.
        Void = "void",
        /// It was reserved and not confirmed in time, and so given back.
        Expired = "expired",
    }
}

/// Opaque id of a contact: 1 to 255 characters, kept as it is.
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

/// A code, as it was imported.
struct Code(String);

impl FieldValue for Code {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, MAX_CODE_CHARS).map(Self)
    }
}
