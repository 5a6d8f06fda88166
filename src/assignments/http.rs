//! `…/assignments`: handing out, one by one or in batches, and looking up.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::dealer::{Answer, BATCH_PATIENCE, Item, PATIENCE, Target};
use super::key::IdempotencyKey;
use super::lists::{self, Filter, Slice, Spot};
use super::{Assignment, NewAssignment, NewItem, Outcome, State as AssignmentState, db, id};
use crate::app::{App, RequestId};
use crate::coupon_sets;
use crate::error::{Error, Fault};
use crate::extract::{Fields, FromFields, Json, Path, Query, check_text, read};
use crate::page::{Page, Paging};
use crate::tenants::auth::{AssignmentsRead, AssignmentsWrite, Caller};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v1/coupon-sets/{couponSetId}/assignments", post(assign))
        .route(
            "/v1/coupon-sets/{couponSetId}/assignments/batch",
            post(assign_batch),
        )
        .route("/v1/assignments", get(list))
        .route("/v1/assignments/{assignmentId}", get(find))
}

/// An assignment as the answer to a request for one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Assigned {
    #[serde(flatten)]
    assignment: Assignment,
    outcome: Outcome,
    /// The key that gives this answer again: the caller's, or the one that the service made.
    idempotency_key: String,
}

impl Assigned {
    fn status(&self) -> StatusCode {
        match self.outcome {
            Outcome::Assigned => StatusCode::CREATED,
            Outcome::Replayed | Outcome::AlreadyAssigned => StatusCode::OK,
        }
    }
}

impl IntoResponse for Assigned {
    fn into_response(self) -> Response {
        (self.status(), Json(self)).into_response()
    }
}

/// A request on its way: what is needed to make the answer of it.
struct Asked {
    requested: Uuid,
    contact_id: String,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    key: IdempotencyKey,
}

impl Asked {
    fn new(requested: Uuid, new: NewAssignment, key: IdempotencyKey) -> (Self, Item) {
        let item = Item {
            key_hash: key.hash(),
            contact_id: new.contact.0.clone(),
            workflow_id: new.workflow_id.clone(),
            node_id: new.node_id.clone(),
            execution_id: new.execution_id.clone(),
        };
        let asked = Self {
            requested,
            contact_id: new.contact.0,
            workflow_id: new.workflow_id,
            node_id: new.node_id,
            execution_id: new.execution_id,
            key,
        };
        (asked, item)
    }

    fn answer(self, answer: Answer) -> Result<Assigned, Error> {
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
                contact_id: self.contact_id,
                state: AssignmentState::Assigned,
                assigned_at: served.assigned_at,
                workflow_id,
                node_id,
                execution_id,
            },
            outcome: served.outcome,
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
    let (asked, item) = Asked::new(set, new, key);
    let answer = app.dealer.deal(target, vec![item], PATIENCE).await.pop();
    asked.answer(answer.ok_or_else(|| Error::Internal("the dealer gave no answer".to_owned()))?)
}

/// Most items of one batch.
const MAX_ITEMS: usize = 10_000;
/// Items of a batch that are handed to the dealer together, so that other callers of the set get their turn.
const PORTION: usize = 500;

/// An item with its index in the batch.
type Placed = (usize, Asked, Item);
/// What became of an item; a failed one comes with its key, if it has one.
type ItemOutcome = Result<Assigned, (Option<String>, Error)>;

#[derive(Debug)]
struct NewBatch {
    items: Vec<Value>,
}

impl FromFields for NewBatch {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let items: Vec<Value> = fields.required("items")?;
        if items.is_empty() || items.len() > MAX_ITEMS {
            fields.fault("items", format!("A batch has from 1 to {MAX_ITEMS} items."));
            return None;
        }
        Some(Self { items })
    }
}

/// The answer to one item: what the same request alone would have got.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemResult {
    status: u16,
    idempotency_key: Option<String>,
    assignment: Option<Assigned>,
    error: Option<Value>,
}

#[derive(Debug, Serialize)]
struct BatchResults {
    results: Vec<ItemResult>,
}

async fn assign_batch(
    State(app): State<App>,
    caller: Caller<AssignmentsWrite>,
    Path(set): Path<Uuid>,
    request_id: RequestId,
    headers: HeaderMap,
    Json(batch): Json<NewBatch>,
) -> Result<Json<BatchResults>, Error> {
    let batch_key = IdempotencyKey::of(&headers)?;
    let mut results: Vec<Option<ItemOutcome>> = Vec::new();
    results.resize_with(batch.items.len(), || None);
    // One target for each child set that the items name; nearly always it is one for all.
    let mut targets: Vec<(Target, Vec<Placed>)> = Vec::new();
    for (index, value) in batch.items.into_iter().enumerate() {
        match read_item(value, index, batch_key.as_ref()) {
            Err(error) => results[index] = Some(Err((None, error))),
            Ok((key, new)) => {
                let target = Target {
                    tenant: caller.tenant,
                    set,
                    child: new.child,
                };
                let (asked, item) = Asked::new(set, new, key);
                match targets.iter_mut().find(|(known, _)| *known == target) {
                    Some((_, items)) => items.push((index, asked, item)),
                    None => targets.push((target, vec![(index, asked, item)])),
                }
            }
        }
    }
    let mut portions = Vec::new();
    for (target, items) in targets {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let portion: Vec<_> = items.by_ref().take(PORTION).collect();
            let dealer = &app.dealer;
            portions.push(async move {
                let (asked, items): (Vec<_>, Vec<_>) = portion
                    .into_iter()
                    .map(|(index, asked, item)| ((index, asked), item))
                    .unzip();
                let answers = dealer.deal(target, items, BATCH_PATIENCE).await;
                asked
                    .into_iter()
                    .zip(answers)
                    .map(|((index, asked), answer)| {
                        let key = asked.key.as_str().to_owned();
                        (
                            index,
                            asked.answer(answer).map_err(|error| (Some(key), error)),
                        )
                    })
                    .collect::<Vec<_>>()
            });
        }
    }
    for (index, result) in join_all(portions).await.into_iter().flatten() {
        results[index] = Some(result);
    }
    let results = results
        .into_iter()
        .map(|result| {
            result
                .unwrap_or_else(|| Err((None, Error::Internal("an item got no answer".to_owned()))))
        })
        .map(|result| ItemResult::new(result, request_id.as_str()))
        .collect();
    Ok(Json(BatchResults { results }))
}

fn read_item(
    value: Value,
    index: usize,
    batch_key: Option<&IdempotencyKey>,
) -> Result<(IdempotencyKey, NewAssignment), Error> {
    let item: NewItem = read(value).map_err(|faults| {
        let in_batch =
            |fault: Fault| Fault::new(format!("/items/{index}{}", fault.pointer), fault.detail);
        Error::Invalid(faults.into_iter().map(in_batch).collect())
    })?;
    let key = match (item.key, batch_key) {
        (Some(key), _) => key,
        (None, Some(batch_key)) => batch_key.of_item(index),
        (None, None) => IdempotencyKey::mint(),
    };
    Ok((key, item.new))
}

impl ItemResult {
    fn new(result: ItemOutcome, request_id: &str) -> Self {
        match result {
            Ok(assigned) => Self {
                status: assigned.status().as_u16(),
                idempotency_key: Some(assigned.idempotency_key.clone()),
                assignment: Some(assigned),
                error: None,
            },
            Err((idempotency_key, error)) => Self {
                status: error.kind().status.as_u16(),
                idempotency_key,
                assignment: None,
                error: Some(error.problem(request_id)),
            },
        }
    }
}

async fn find(
    State(app): State<App>,
    caller: Caller<AssignmentsRead>,
    Path(assignment): Path<Uuid>,
) -> Result<Json<Assignment>, Error> {
    let not_found = || Error::not_found("assignment");
    let place = id::decode(assignment).ok_or_else(not_found)?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let found = db::find(&mut transaction, caller.tenant, &[place]).await?;
    transaction.commit().await?;
    found
        .into_iter()
        .find(|found| found.id == assignment)
        .map(Json)
        .ok_or_else(not_found)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListQuery {
    coupon_set_id: Option<Uuid>,
    contact_id: Option<String>,
    code: Option<String>,
    workflow_id: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<u16>,
    cursor: Option<String>,
}

impl ListQuery {
    /// PostgreSQL cannot even be asked for text with a NUL.
    fn check(&self) -> Result<(), Error> {
        let texts = [
            ("contactId", &self.contact_id),
            ("code", &self.code),
            ("workflowId", &self.workflow_id),
        ];
        for (name, text) in texts {
            if let Some(detail) = text.as_deref().and_then(|text| check_text(text, 255).err()) {
                return Err(Error::malformed(format!("`{name}` is wrong: {detail}")));
            }
        }
        Ok(())
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller<AssignmentsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Assignment>>, Error> {
    query.check()?;
    let paging: Paging<Spot> = Paging::new(query.limit, query.cursor.as_deref())?;
    let tenant = caller.tenant;
    let mut transaction = app.database.tenant(tenant).await?;
    let set_no = match query.coupon_set_id {
        // Deleted sets too: their history stays readable.
        Some(set) => Some(
            coupon_sets::find_no_of_any(&mut transaction, tenant, set)
                .await?
                .ok_or_else(|| Error::not_found("coupon set"))?,
        ),
        None => None,
    };
    let filter = Filter {
        set_no,
        workflow_id: query.workflow_id.as_deref(),
        from: query.from,
        to: query.to,
    };
    let slice = Slice {
        after: paging.key().copied(),
        back: paging.back(),
        rows: paging.rows(),
    };
    let spots = match (&query.contact_id, &query.code, set_no, &query.workflow_id) {
        (Some(contact), None, _, _) => {
            lists::list_by_contact(&mut transaction, tenant, contact, &filter, slice).await?
        }
        (contact, Some(code), _, _) => {
            lists::list_by_code(
                &mut transaction,
                tenant,
                code,
                contact.as_deref(),
                &filter,
                slice,
            )
            .await?
        }
        (None, None, Some(set_no), _) => {
            lists::list_by_set(&mut transaction, tenant, set_no, &filter, slice).await?
        }
        (None, None, None, Some(workflow)) => {
            lists::list_by_workflow(&mut transaction, tenant, workflow, &filter, slice).await?
        }
        (None, None, None, None) => {
            lists::list_by_time(&mut transaction, tenant, &filter, slice).await?
        }
    };
    let places: Vec<_> = spots
        .iter()
        .map(|spot| id::Place {
            set_no: spot.set_no,
            number: spot.number,
        })
        .collect();
    let found = db::find(&mut transaction, tenant, &places).await?;
    transaction.commit().await?;
    let rows: Vec<(Spot, Assignment)> = spots.into_iter().zip(found).collect();
    let page = paging.page(rows, &uri, |(spot, _)| *spot);
    Ok(Json(page.map(|(_, assignment)| assignment)))
}
