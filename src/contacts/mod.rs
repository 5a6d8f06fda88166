//! Contacts: their assignments, merging two contacts into one, and erasing a contact.
//!
//! A contact is a row that maps an id to a number, and the log of assignments stores the number. Merging and erasing
//! therefore change that row and leave the log unchanged. The `eraser` replaces ids that callers wrote into texts.

mod db;
mod eraser;
mod http;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::assignments::{Assignment, ContactId};
use crate::background::Tasks;
use crate::database::Database;
use crate::http::error::{CONTACT_ERASED, CONTACT_MERGED, Error};
use crate::http::extract::{Fields, FromFields};
use crate::http::page::Page;
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::load::LoadSignal;
use crate::tenants::auth::Auth;
use crate::text_enum::text_enum;

feature_state! {
    /// State of the routes and the eraser of contacts.
    Contacts { auth: Auth, database: Database, load: LoadSignal, }
}

impl Contacts {
    pub(crate) fn new(auth: &Auth, database: &Database, load: &LoadSignal) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            load: load.clone(),
        }))
    }
}

pub(crate) fn routes(state: Contacts) -> Routes {
    http::routes().with_state(state)
}

pub(crate) fn spawn(state: &Contacts, tasks: &Tasks) {
    tasks.spawn(eraser::work(state.clone(), tasks.clone()));
}

/// An event of a contact.
#[derive(Debug, Serialize)]
struct Activity {
    r#type: &'static str,
    #[serde(flatten)]
    assignment: Assignment,
}

impl Activity {
    fn assigned(assignment: Assignment) -> Self {
        Self {
            r#type: "coupon-assigned",
            assignment,
        }
    }
}

/// A page about one contact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContactPage<T> {
    /// Contact id of the request.
    contact_id: String,
    /// Contact that the page is of, if the requested one was merged into it.
    merged_into: Option<String>,
    #[serde(flatten)]
    page: Page<T>,
}

/// Body of a merge: the contact that represents both afterwards.
struct NewMerge {
    into: ContactId,
}

impl FromFields for NewMerge {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            into: fields.required("into")?,
        })
    }
}

/// A merged contact, and the contact that represents it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Merge {
    contact_id: String,
    merged_into: String,
}

text_enum! {
    /// The outcome of the database function `merge_contacts`.
    enum MergeOutcome {
        Merged = "merged",
        MergedBefore = "mergedBefore",
        Erased = "erased",
    }
}

impl Merge {
    /// `root` is the contact that represents this one.
    fn from_outcome(contact: String, outcome: MergeOutcome, root: String) -> Result<Self, Error> {
        match outcome {
            MergeOutcome::Merged => Ok(Self {
                contact_id: contact,
                merged_into: root,
            }),
            MergeOutcome::MergedBefore => {
                let detail = if root == contact {
                    "The contact in `into` was already merged into this contact, which represents both."
                } else {
                    "The contact was already merged into the one that `mergedInto` names. Use that contact instead."
                };
                Err(Error::refused(&CONTACT_MERGED, detail).with("mergedInto", root))
            }
            MergeOutcome::Erased => Err(Error::refused(
                &CONTACT_ERASED,
                "An erased contact cannot be merged, because that would reveal its identity.",
            )),
        }
    }
}

/// Progress of the erasure of a contact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Erasure {
    /// Pseudonym that replaces the contact id.
    contact_id: String,
    state: ErasureState,
    requested_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum ErasureState {
    /// The contact has its pseudonym. Texts are still being searched.
    Erasing,
    Erased,
}
