//! Workflows: who uses a set, as the engine that runs them tells it.
//!
//! What two clients at once see: a workflow is written and a set is deleted under one lock of the tenant, so one of them
//! comes first. If a set is deleted while a workflow begins to use it, either the workflow is there, and the deletion is
//! refused where it is active or paused; or the set is gone, and the workflow is told that there is no such set. A draft
//! or a finished workflow lets go of a set that is deleted, so none ever names a set that does not exist. Of two who
//! write one workflow, the later one replaces all that the earlier one said, and only the earlier one is told that it is
//! new.

mod db;
mod http;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use db::{forget_set, list_active_sets, list_users};

use crate::database::{Database, locks};
use crate::http::error::{Error, Fault};
use crate::http::extract::{FieldValue, Fields, FromFields, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::ids::TenantId;
use crate::tenants::auth::Auth;
use crate::text_enum::text_enum;

feature_state! {
    /// What the routes of workflows work with.
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

/// Most sets that a workflow may name.
const MAX_SETS: usize = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Workflow {
    id: String,
    name: String,
    state: State,
    /// As they were named, each once.
    coupon_set_ids: Vec<Uuid>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A workflow as the user of a set.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct User {
    id: String,
    pub name: String,
    state: State,
}

impl User {
    pub(crate) fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Whether its sets cannot be deleted.
    pub(crate) fn holds_its_sets(&self) -> bool {
        matches!(self.state, State::Active | State::Paused)
    }
}

/// The engine's id of a workflow, the one that its requests for codes bring.
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
    enum State {
        Draft = "draft",
        Active = "active",
        Paused = "paused",
        Finished = "finished",
    }
}

struct Name(String);

impl FieldValue for Name {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 200).map(Self)
    }
}

/// What the engine says of a workflow: always all of it.
#[derive(Debug)]
struct NewWorkflow {
    name: String,
    state: State,
    coupon_sets: Vec<Uuid>,
}

impl FromFields for NewWorkflow {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name").map(|Name(name)| name);
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

/// Makes the workflow or replaces what was said of it, and answers whether it is new.
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
    db::name_sets(&mut transaction, tenant, id, &set_nos).await?;
    let workflow = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok((is_new, workflow))
}

/// The numbers of these sets, each once; all that do not exist are told.
async fn find_sets(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[Uuid],
) -> Result<Vec<i32>, Error> {
    let known: HashMap<Uuid, i32> = db::find_set_nos(connection, tenant, sets).await?;
    let mut set_nos = Vec::with_capacity(sets.len());
    let mut faults = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        match known.get(set) {
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

/// Forgets the workflow. What it was given codes for stays readable by its id.
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
