//! Workflows: users of coupon sets, as reported by the engine that runs the workflows.
//!
//! Concurrency: writing a workflow and deleting a set take the same lock of the tenant, so one of them comes first.
//! If a set is deleted while a workflow begins to use it, there are two outcomes:
//!
//! * The workflow comes first. The deletion is rejected if the workflow is active or paused.
//! * The deletion comes first. The write of the workflow fails because the set does not exist.
//!
//! Deleting a set removes it from draft and finished workflows, so no workflow refers to a set that does not exist.
//! Of two concurrent writes of one new workflow, the later one replaces the whole workflow. Only the earlier one
//! reports it as created.

mod db;
mod http;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use db::{list_active_sets, list_of_set, remove_set};

use crate::database::{Database, locks};
use crate::http::error::{Error, Fault};
use crate::http::extract::{FieldValue, Fields, FromFields, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::ids::TenantId;
use crate::tenants::auth::Auth;
use crate::text_enum::text_enum;

feature_state! {
    /// State of the routes of workflows.
    Workflows { auth: Auth, database: Database, }
}

impl Workflows {
    pub(crate) fn new(auth: &Auth, database: &Database) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
        }))
    }
}

pub(crate) fn routes(state: Workflows) -> Routes {
    http::routes().with_state(state)
}

/// Maximum number of sets of a workflow.
const MAX_SETS: usize = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Workflow {
    id: String,
    name: String,
    state: WorkflowState,
    /// In the order of the request, without duplicates.
    coupon_set_ids: Vec<Uuid>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A workflow that uses a set.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkflowSummary {
    id: String,
    pub name: String,
    state: WorkflowState,
}

impl WorkflowSummary {
    pub(crate) fn is_active(&self) -> bool {
        self.state == WorkflowState::Active
    }

    /// Returns true if the sets of the workflow cannot be deleted.
    pub(crate) fn blocks_set_deletion(&self) -> bool {
        matches!(self.state, WorkflowState::Active | WorkflowState::Paused)
    }
}

/// The engine's id of a workflow, as sent in its requests for codes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct WorkflowId(String);

impl TryFrom<String> for WorkflowId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        text(Value::String(id), 255).map(Self)
    }
}

text_enum! {
    enum WorkflowState {
        Draft = "draft",
        Active = "active",
        Paused = "paused",
        Finished = "finished",
    }
}

struct WorkflowName(String);

impl FieldValue for WorkflowName {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 200).map(Self)
    }
}

/// Body of a `PUT`: the complete workflow.
#[derive(Debug)]
struct NewWorkflow {
    name: String,
    state: WorkflowState,
    coupon_sets: Vec<Uuid>,
}

impl FromFields for NewWorkflow {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name").map(|WorkflowName(name)| name);
        let state = fields.required("state");
        let values: Option<Vec<Value>> = fields.required("couponSetIds");
        let values = values.filter(|values| {
            let fits = values.len() <= MAX_SETS;
            if !fits {
                let detail = format!("A workflow can name at most {MAX_SETS} coupon sets.");
                fields.fault("couponSetIds", detail);
            }
            fits
        })?;
        let mut coupon_sets = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match Uuid::from_value(value) {
                Ok(set) => coupon_sets.push(set),
                Err(detail) => fields.fault_of_item("couponSetIds", index, detail),
            }
        }
        Some(Self {
            name: name?,
            state: state?,
            coupon_sets,
        })
    }
}

/// Creates or replaces a workflow. The flag is true if it is new.
async fn put(
    database: &Database,
    tenant: TenantId,
    id: &WorkflowId,
    new: &NewWorkflow,
) -> Result<(bool, Workflow), Error> {
    let mut transaction = database.tenant(tenant).await?;
    locks::lock_set_shape(&mut transaction, tenant).await?;
    let set_nos = find_sets(&mut transaction, tenant, &new.coupon_sets).await?;
    let is_new = db::put(&mut transaction, tenant, id, new).await?;
    db::replace_sets(&mut transaction, tenant, id, &set_nos).await?;
    let workflow = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok((is_new, workflow))
}

/// Returns the numbers of these sets without duplicates. The error lists every set that does not exist.
async fn find_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[Uuid],
) -> Result<Vec<i32>, Error> {
    let set_nos_by_id: HashMap<Uuid, i32> = db::find_set_nos(connection, tenant, sets).await?;
    let mut set_nos = Vec::with_capacity(sets.len());
    let mut faults = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        match set_nos_by_id.get(set) {
            Some(set_no) if set_nos.contains(set_no) => {}
            Some(set_no) => set_nos.push(*set_no),
            None => faults.push(Fault::new(
                format!("/couponSetIds/{index}"),
                "The coupon set does not exist.",
            )),
        }
    }
    if faults.is_empty() {
        Ok(set_nos)
    } else {
        Err(Error::Invalid(faults))
    }
}

/// Deletes a workflow. Its assignments remain readable by its id.
async fn delete(database: &Database, tenant: TenantId, id: &WorkflowId) -> Result<(), Error> {
    let mut transaction = database.tenant(tenant).await?;
    locks::lock_set_shape(&mut transaction, tenant).await?;
    let existed = db::delete(&mut transaction, tenant, id).await?;
    transaction.commit().await?;
    if existed {
        Ok(())
    } else {
        Err(Error::not_found("workflow"))
    }
}
