//! The batch endpoint: for each item what the same request alone would have got.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::NewAssignment;
use super::dealer::{BATCH_PATIENCE, Dealer, Item, Target};
use super::http::{Asked, Assigned};
use super::key::IdempotencyKey;
use crate::app::{App, RequestId};
use crate::coupon_sets;
use crate::error::{Error, Fault};
use crate::extract::{Fields, FromFields, Json, Path, read};
use crate::tenants::TenantId;
use crate::tenants::auth::{AssignmentsWrite, Caller};

/// Most items of one batch.
const MAX_ITEMS: usize = 10_000;
/// Most child sets that the items of one batch may name: each is asked for by itself.
const MAX_CHILDREN: usize = 16;
/// Items that are handed to the dealer together, so that other callers of the set get their turn.
const PORTION: usize = 500;

#[derive(Debug)]
pub(super) struct NewBatch {
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

/// An item: a request with a key of its own.
#[derive(Debug)]
struct NewItem {
    key: Option<IdempotencyKey>,
    new: NewAssignment,
}

impl FromFields for NewItem {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let key = fields.optional("idempotencyKey");
        let new = NewAssignment::from_fields(fields)?;
        Some(Self { key, new })
    }
}

/// What became of an item; a refused one comes with its key, if it has one.
type Outcome = Result<Assigned, (Option<String>, Error)>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemResult {
    status: u16,
    idempotency_key: Option<String>,
    assignment: Option<Assigned>,
    error: Option<Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct BatchResults {
    results: Vec<ItemResult>,
}

pub(super) async fn assign_batch(
    State(app): State<App>,
    caller: Caller<AssignmentsWrite>,
    Path(set): Path<Uuid>,
    request_id: RequestId,
    headers: HeaderMap,
    Json(batch): Json<NewBatch>,
) -> Result<Json<BatchResults>, Error> {
    let batch_key = IdempotencyKey::of(&headers)?;
    if let Some(batch_key) = &batch_key {
        // The longest of the items' keys.
        batch_key.of_item(MAX_ITEMS)?;
    }
    check_set(&app, caller.tenant, set).await?;
    let count = batch.items.len();
    let (mut outcomes, asked) = read_items(batch.items, set, batch_key.as_ref())?;
    outcomes.extend(deal(&app.dealer, caller.tenant, set, asked).await);
    let results = (0..count)
        .map(|index| {
            let lost = || Err((None, Error::Internal("an item got no answer".to_owned())));
            let outcome = outcomes.remove(&index).unwrap_or_else(lost);
            ItemResult::new(outcome, index, request_id.as_str())
        })
        .collect();
    Ok(Json(BatchResults { results }))
}

async fn check_set(app: &App, tenant: TenantId, set: Uuid) -> Result<(), Error> {
    let mut transaction = app.database.tenant(tenant).await?;
    let found = coupon_sets::find_no(&mut transaction, tenant, set).await?;
    transaction.commit().await?;
    found
        .map(|_| ())
        .ok_or_else(|| Error::not_found("coupon set"))
}

/// Items to be asked for, with their places in the batch, by the child set that they name.
type AskedByChild = BTreeMap<Option<Uuid>, Vec<(usize, Asked, Item)>>;

/// Reads each item by itself: a wrong one is answered and harms no other.
fn read_items(
    items: Vec<Value>,
    set: Uuid,
    batch_key: Option<&IdempotencyKey>,
) -> Result<(BTreeMap<usize, Outcome>, AskedByChild), Error> {
    let mut outcomes = BTreeMap::new();
    let mut by_child = AskedByChild::new();
    for (index, value) in items.into_iter().enumerate() {
        let item: NewItem = match read(value) {
            Ok(item) => item,
            Err(faults) => {
                outcomes.insert(index, Err((None, Error::Invalid(faults))));
                continue;
            }
        };
        let key = match (item.key, batch_key) {
            (Some(key), _) => key,
            (None, Some(batch_key)) => batch_key.of_item(index)?,
            (None, None) => IdempotencyKey::mint(),
        };
        let of_child = by_child.entry(item.new.child).or_default();
        let (asked, item) = Asked::new(set, item.new, key);
        of_child.push((index, asked, item));
    }
    if by_child.keys().flatten().count() > MAX_CHILDREN {
        let detail = format!("The items of a batch may name at most {MAX_CHILDREN} child sets.");
        return Err(Error::invalid("/items", detail));
    }
    Ok((outcomes, by_child))
}

async fn deal(
    dealer: &Dealer,
    tenant: TenantId,
    set: Uuid,
    by_child: AskedByChild,
) -> Vec<(usize, Outcome)> {
    let mut portions = Vec::new();
    for (child, items) in by_child {
        let target = Target { tenant, set, child };
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            portions.push(deal_portion(
                dealer,
                target,
                items.by_ref().take(PORTION).collect(),
            ));
        }
    }
    join_all(portions).await.into_iter().flatten().collect()
}

async fn deal_portion(
    dealer: &Dealer,
    target: Target,
    portion: Vec<(usize, Asked, Item)>,
) -> Vec<(usize, Outcome)> {
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
        .collect()
}

impl ItemResult {
    fn new(outcome: Outcome, index: usize, request_id: &str) -> Self {
        match outcome {
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
                error: Some(in_item(error, index).problem(request_id)),
            },
        }
    }
}

/// Names the item in the faults of its fields.
fn in_item(error: Error, index: usize) -> Error {
    let Error::Invalid(faults) = error else {
        return error;
    };
    let in_item =
        |fault: Fault| Fault::new(format!("/items/{index}{}", fault.pointer), fault.detail);
    Error::Invalid(faults.into_iter().map(in_item).collect())
}
