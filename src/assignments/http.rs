//! `…/assignments`: handing out, one by one or in batches, and looking up.

use std::ops::Not;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use uuid::Uuid;

use super::dealer::{Answer, Give, Item, Target};
use super::events::{self, find_history};
use super::key::IdempotencyKey;
use super::life::History;
use super::queue::PATIENCE;
use super::rehearsal::rehearse;
use super::search::{ListQuery, search};
use super::{Assignment, NewAssignment, Outcome, batch, db, id};
use crate::app::App;
use crate::error::Error;
use crate::extract::{Json, Path, Query};
use crate::page::Page;
use crate::tenants::auth::{AssignmentsRead, AssignmentsWrite, Caller};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v1/coupon-sets/{couponSetId}/assignments", post(assign))
        .route(
            "/v1/coupon-sets/{couponSetId}/assignments/batch",
            post(batch::assign_batch),
        )
        .merge(events::router())
        .route("/v1/assignments", get(list))
        .route("/v1/assignments/{assignmentId}", get(find))
}

/// An assignment as the answer to a request for one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assigned {
    #[serde(flatten)]
    pub(super) assignment: Assignment,
    pub(super) outcome: Outcome,
    /// Nothing was taken: the request was a test.
    #[serde(skip_serializing_if = "Not::not")]
    pub(super) test: bool,
    /// The key that gives this answer again: the caller's, or the one that the service made.
    pub(super) idempotency_key: String,
}

impl Assigned {
    pub(super) fn status(&self) -> StatusCode {
        match self.outcome {
            Outcome::Assigned if !self.test => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

impl IntoResponse for Assigned {
    fn into_response(self) -> Response {
        (self.status(), Json(self)).into_response()
    }
}

/// A request on its way: what is needed to make the answer of it.
pub(super) struct Asked {
    pub(super) requested: Uuid,
    pub(super) contact_id: String,
    pub(super) workflow_id: Option<String>,
    pub(super) node_id: Option<String>,
    pub(super) execution_id: Option<String>,
    pub(super) reserve_seconds: Option<i32>,
    pub(super) key: IdempotencyKey,
}

impl Asked {
    pub(super) fn new(requested: Uuid, new: NewAssignment, key: IdempotencyKey) -> Self {
        Self {
            requested,
            contact_id: new.contact.0,
            workflow_id: new.workflow_id,
            node_id: new.node_id,
            execution_id: new.execution_id,
            reserve_seconds: new.reserve_for.map(|seconds| seconds.0),
            key,
        }
    }

    /// What the dealer is handed for it; `caller` is the id of the API key.
    pub(super) fn item(&self, caller: Uuid) -> Item {
        Item {
            key_hash: self.key.hash(),
            contact_id: self.contact_id.clone(),
            workflow_id: self.workflow_id.clone(),
            node_id: self.node_id.clone(),
            execution_id: self.execution_id.clone(),
            reserve_seconds: self.reserve_seconds,
            caller,
        }
    }

    pub(super) fn answer(self, answer: Answer) -> Result<Assigned, Error> {
        let served = answer.map_err(|refusal| refusal.into_error(&self.key))?;
        // A new assignment is what was asked for; an old one is what was asked for then.
        let (workflow_id, node_id, execution_id) = match served.outcome {
            Outcome::Assigned => (self.workflow_id, self.node_id, self.execution_id),
            Outcome::Replayed | Outcome::AlreadyAssigned => {
                (served.workflow_id, served.node_id, served.execution_id)
            }
        };
        Ok(Assigned {
            assignment: Assignment {
                id: id::encode(served.place, served.assigned_at),
                coupon_code: served.code,
                coupon_set_id: served.set,
                requested_coupon_set_id: self.requested,
                contact_id: served.contact_id.unwrap_or(self.contact_id),
                state: served.state,
                assigned_at: served.assigned_at,
                reserved_until: served.reserved_until,
                expires_at: served.expires_at,
                timezone: served.timezone,
                workflow_id,
                node_id,
                execution_id,
                attributes: served.attributes,
            },
            outcome: served.outcome,
            test: false,
            idempotency_key: self.key.as_str().to_owned(),
        })
    }
}

async fn assign(
    State(app): State<App>,
    caller: Caller<AssignmentsWrite>,
    Path(set): Path<Uuid>,
    headers: HeaderMap,
    Json(new): Json<NewAssignment>,
) -> Result<Assigned, Error> {
    let key = IdempotencyKey::of(&headers)?.unwrap_or_else(IdempotencyKey::mint);
    let target = Target {
        tenant: caller.tenant,
        set,
        child: new.child,
    };
    let rehearsal = new.rehearsal;
    let asked = Asked::new(set, new, key);
    if let Some(rehearsal) = rehearsal {
        let mut transaction = app.database.tenant(caller.tenant).await?;
        let stage = db::find_stage(&mut transaction, target).await?;
        transaction.commit().await?;
        let stage = stage.ok_or_else(|| Error::not_found("coupon set"))?;
        return rehearse(&stage, rehearsal, asked);
    }
    let items = vec![asked.item(caller.key)];
    let answer = app
        .dealer
        .deal(target, items, Give::Each, PATIENCE)
        .await
        .pop();
    asked.answer(answer.ok_or_else(|| Error::Internal("the assignment has no result".to_owned()))?)
}

async fn find(
    State(app): State<App>,
    caller: Caller<AssignmentsRead>,
    Path(assignment): Path<Uuid>,
) -> Result<Json<History>, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let history = find_history(&mut transaction, caller.tenant, assignment).await?;
    transaction.commit().await?;
    Ok(Json(history))
}

async fn list(
    State(app): State<App>,
    caller: Caller<AssignmentsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Assignment>>, Error> {
    let paging = query.paging()?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let rows = search(&mut transaction, caller.tenant, &query, &paging).await?;
    transaction.commit().await?;
    let page = paging.page(rows, &uri, |(spot, _)| *spot);
    Ok(Json(page.map(|(_, assignment)| assignment)))
}
