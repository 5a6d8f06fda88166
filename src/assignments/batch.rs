//! The batch endpoint: for each item what the same request alone would have got.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use axum::extract::State;
use axum::http::HeaderMap;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dealer::{Dealer, Give, Target};
use super::http::{Asked, Assigned};
use super::key::IdempotencyKey;
use super::queue::BATCH_PATIENCE;
use super::rehearsal::{Rehearsal, rehearse};
use super::{NewAssignment, db};
use crate::app::{App, RequestId};
use crate::coupon_sets;
use crate::error::{BATCH_WITHHELD, Error, Fault};
use crate::extract::{Fields, FromFields, Json, Path, read};
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
    give: Give,
}

impl FromFields for NewBatch {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let all_or_nothing: Option<bool> = fields.optional("allOrNothing");
        let items: Vec<Value> = fields.required("items")?;
        if items.is_empty() || items.len() > MAX_ITEMS {
            fields.fault(
                "items",
                format!("A batch must have 1 to {MAX_ITEMS} items."),
            );
            return None;
        }
        let give = if all_or_nothing == Some(true) {
            Give::AllOrNothing
        } else {
            Give::Each
        };
        Some(Self { items, give })
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
    let count = batch.items.len();
    let target = Target {
        tenant: caller.tenant,
        set,
        child: None,
    };
    let mut read = Items::read(batch.items, set, batch_key.as_ref())?;
    if batch.give == Give::AllOrNothing {
        read.expect_one_whole()?;
    }
    let mut outcomes = read.refused;
    outcomes.extend(rehearse_all(&app, target, read.rehearsed).await?);
    if batch.give == Give::AllOrNothing {
        // What is rehearsed counts too, and nothing is given yet.
        expect_given(&outcomes, count, request_id.as_str())?;
    }
    outcomes.extend(deal(&app.dealer, target, caller.key, read.asked, batch.give).await);
    if batch.give == Give::AllOrNothing {
        expect_given(&outcomes, count, request_id.as_str())?;
    }
    let results = (0..count)
        .map(|index| {
            let lost = || {
                Err((
                    None,
                    Error::Internal("a batch item has no result".to_owned()),
                ))
            };
            let outcome = outcomes.remove(&index).unwrap_or_else(lost);
            ItemResult::new(outcome, index, request_id.as_str())
        })
        .collect();
    Ok(Json(BatchResults { results }))
}

/// The items of a batch, each with its place in it.
#[derive(Default)]
struct Items {
    /// By the child set that they name.
    asked: BTreeMap<Option<Uuid>, Vec<(usize, Asked)>>,
    rehearsed: Vec<(usize, Option<Uuid>, Rehearsal, Asked)>,
    /// What is wrong is answered by itself and harms no other.
    refused: BTreeMap<usize, Outcome>,
}

impl Items {
    fn read(
        items: Vec<Value>,
        set: Uuid,
        batch_key: Option<&IdempotencyKey>,
    ) -> Result<Self, Error> {
        let mut sorted = Self::default();
        for (index, value) in items.into_iter().enumerate() {
            let item: NewItem = match read(value) {
                Ok(item) => item,
                Err(faults) => {
                    let refused = Err((None, Error::Invalid(faults)));
                    sorted.refused.insert(index, refused);
                    continue;
                }
            };
            let key = match (item.key, batch_key) {
                (Some(key), _) => key,
                (None, Some(batch_key)) => batch_key.of_item(index)?,
                (None, None) => IdempotencyKey::mint(),
            };
            let NewAssignment {
                child, rehearsal, ..
            } = item.new;
            let asked = Asked::new(set, item.new, key);
            match rehearsal {
                Some(rehearsal) => sorted.rehearsed.push((index, child, rehearsal, asked)),
                None => sorted.asked.entry(child).or_default().push((index, asked)),
            }
        }
        let rehearsed = sorted.rehearsed.iter().filter_map(|(_, child, ..)| *child);
        let children: BTreeSet<Uuid> = sorted
            .asked
            .keys()
            .flatten()
            .copied()
            .chain(rehearsed)
            .collect();
        if children.len() > MAX_CHILDREN {
            let detail = format!(
                "The items of a batch can name at most {MAX_CHILDREN} different child sets."
            );
            return Err(Error::invalid("/items", detail));
        }
        Ok(sorted)
    }

    /// What is given as a whole must be right as a whole, and is asked of one chain of sets.
    fn expect_one_whole(&mut self) -> Result<(), Error> {
        let faults: Vec<Fault> = mem::take(&mut self.refused)
            .into_iter()
            .filter_map(|(index, refused)| Some((index, refused.err()?.1)))
            .flat_map(|(index, error)| match in_item(error, index) {
                Error::Invalid(faults) => faults,
                _ => Vec::new(),
            })
            .collect();
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        if self.asked.len() > 1 {
            let detail = "With `allOrNothing`, all items must name the same child set, or none.";
            return Err(Error::invalid("/items", detail));
        }
        let mut contacts = HashMap::new();
        for (index, asked) in self.asked.values().flatten() {
            let contact = contacts
                .entry(asked.key.hash())
                .or_insert(&asked.contact_id);
            if *contact != &asked.contact_id {
                let pointer = format!("/items/{index}/idempotencyKey");
                return Err(Error::invalid(
                    pointer,
                    "Another item uses this key for another contact.",
                ));
            }
        }
        Ok(())
    }
}

/// Refuses a batch of which something was refused: nothing was given then. (Unless it was, and who comes twice could not be
/// given the same code again, because that was released in between: then each item is told what it got.)
fn expect_given(
    outcomes: &BTreeMap<usize, Outcome>,
    count: usize,
    request_id: &str,
) -> Result<(), Error> {
    let is_given = |outcome: &Outcome| matches!(outcome, Ok(assigned) if assigned.outcome == super::Outcome::Assigned && !assigned.test);
    if outcomes.values().any(is_given) {
        return Ok(());
    }
    let is_refusal = |error: &Error| error.kind().status.is_client_error();
    let refused: Vec<Value> = outcomes
        .iter()
        .filter_map(|(index, outcome)| {
            let (_, error) = outcome.as_ref().err()?;
            (is_refusal(error) && *error.kind() != BATCH_WITHHELD)
                .then(|| json!({"index": index, "error": error.problem(request_id)}))
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "{} of the {count} items cannot be assigned a code, so nothing was assigned. `refused` lists these items and the reasons.",
        refused.len()
    );
    Err(Error::refused(&BATCH_WITHHELD, detail).with("refused", refused))
}

async fn rehearse_all(
    app: &App,
    target: Target,
    rehearsed: Vec<(usize, Option<Uuid>, Rehearsal, Asked)>,
) -> Result<Vec<(usize, Outcome)>, Error> {
    let mut transaction = app.database.tenant(target.tenant).await?;
    coupon_sets::find_no(&mut transaction, target.tenant, target.set)
        .await?
        .ok_or_else(|| Error::not_found("coupon set"))?;
    let mut stages = BTreeMap::new();
    for (_, child, ..) in &rehearsed {
        if !stages.contains_key(child) {
            let target = Target {
                child: *child,
                ..target
            };
            let stage = db::find_stage(&mut transaction, target)
                .await?
                .ok_or_else(|| Error::not_found("coupon set"))?;
            stages.insert(*child, stage);
        }
    }
    transaction.commit().await?;
    let rehearse = |(index, child, rehearsal, asked): (_, Option<Uuid>, _, Asked)| {
        let key = asked.key.as_str().to_owned();
        let outcome = rehearse(&stages[&child], rehearsal, asked);
        (index, outcome.map_err(|error| (Some(key), error)))
    };
    Ok(rehearsed.into_iter().map(rehearse).collect())
}

async fn deal(
    dealer: &Dealer,
    target: Target,
    caller: Uuid,
    asked: BTreeMap<Option<Uuid>, Vec<(usize, Asked)>>,
    give: Give,
) -> Vec<(usize, Outcome)> {
    let portion = match give {
        Give::Each => PORTION,
        Give::AllOrNothing => MAX_ITEMS,
    };
    let mut portions = Vec::new();
    for (child, items) in asked {
        let target = Target { child, ..target };
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let items: Vec<_> = items.by_ref().take(portion).collect();
            portions.push(deal_portion(dealer, target, caller, items, give));
        }
    }
    join_all(portions).await.into_iter().flatten().collect()
}

async fn deal_portion(
    dealer: &Dealer,
    target: Target,
    caller: Uuid,
    portion: Vec<(usize, Asked)>,
    give: Give,
) -> Vec<(usize, Outcome)> {
    let items = portion
        .iter()
        .map(|(_, asked)| asked.item(caller))
        .collect();
    let answers = dealer.deal(target, items, give, BATCH_PATIENCE).await;
    portion
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
