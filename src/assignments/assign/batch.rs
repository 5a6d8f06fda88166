//! The batch endpoint. Each item has the same result as a single request would have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dry_run::{DryRun, dry_run};
use super::{AssignBatcher, AssignRequest, AssignResponse, NewAssignment, Target, db};
use crate::assignments::Assignments;
use crate::batching::{Atomicity, BATCH_TIMEOUT};
use crate::coupon_sets;
use crate::database::Database;
use crate::http::error::{BATCH_WITHHELD, Error, Fault};
use crate::http::extract::{Fields, FromFields, Path, read};
use crate::http::idempotency_key::IdempotencyKey;
use crate::http::list_body::{self, JsonList, ListBody};
use crate::http::request_id::RequestId;
use crate::load::MAX_WAITING;
use crate::tenants::auth::{AssignmentsWrite, Caller};

/// Maximum number of items per batch.
const MAX_ITEMS: usize = 10_000;
const _: () = assert!(MAX_ITEMS <= MAX_WAITING, "a full batch must be admitted");
/// Maximum number of child sets that the items of one batch may name: the items of each form a batch of their own.
const MAX_CHILDREN: usize = 16;
/// Number of items that are queued together: they share a call.
const BATCH_SIZE: usize = 500;

#[derive(Debug)]
pub(super) struct NewBatch {
    items: Vec<Result<NewItem, Vec<Fault>>>,
    atomicity: Atomicity,
}

impl ListBody for NewBatch {
    const LIST: &'static str = "items";
    const MAX_ITEMS: usize = MAX_ITEMS;
    type Item = Result<NewItem, Vec<Fault>>;

    fn item(value: Value) -> Self::Item {
        read(value)
    }

    fn from_fields(items: Vec<Self::Item>, fields: &mut Fields) -> Option<Self> {
        let all_or_nothing: Option<bool> = fields.optional("allOrNothing");
        let atomicity = if all_or_nothing == Some(true) {
            Atomicity::AllOrNothing
        } else {
            Atomicity::PerItem
        };
        Some(Self { items, atomicity })
    }
}

/// An item: a request with an optional idempotency key of its own.
#[derive(Debug)]
pub(super) struct NewItem {
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

/// The outcome of an item. The error carries the idempotency key, if the item has one.
type ItemOutcome = Result<AssignResponse, (Option<String>, Error)>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemResult {
    status: u16,
    idempotency_key: Option<String>,
    assignment: Option<AssignResponse>,
    error: Option<Value>,
}

pub(super) async fn assign_batch(
    State(assignments): State<Assignments>,
    caller: Caller<AssignmentsWrite>,
    Path(set): Path<Uuid>,
    request_id: RequestId,
    headers: HeaderMap,
    JsonList(batch, memory): JsonList<NewBatch>,
) -> Result<Response, Error> {
    let batch_key = IdempotencyKey::of(&headers)?;
    if let Some(batch_key) = &batch_key {
        // The last item has the longest key that is derived from this one.
        batch_key.of_item(MAX_ITEMS)?;
    }
    let target = Target {
        tenant: caller.tenant,
        set,
        child: None,
    };
    let items = BatchItems::read(batch, set, batch_key.as_ref())?;
    let outcomes = items
        .assign(&assignments, target, caller.key, request_id.as_str())
        .await?;
    let results = outcomes
        .into_iter()
        .map(move |(index, outcome)| ItemResult::new(outcome, index, request_id.as_str()));
    Ok(list_body::respond(results, memory))
}

/// The items of a batch, each with its index.
struct BatchItems {
    count: usize,
    atomicity: Atomicity,
    /// Grouped by the child set that they name.
    requests: BTreeMap<Option<Uuid>, Vec<(usize, AssignRequest)>>,
    dry_runs: Vec<(usize, Option<Uuid>, DryRun, AssignRequest)>,
    /// Invalid items fail by themselves, without effect on the others.
    refused: BTreeMap<usize, ItemOutcome>,
}

impl BatchItems {
    fn read(batch: NewBatch, set: Uuid, batch_key: Option<&IdempotencyKey>) -> Result<Self, Error> {
        let mut sorted = Self {
            count: batch.items.len(),
            atomicity: batch.atomicity,
            requests: BTreeMap::new(),
            dry_runs: Vec::new(),
            refused: BTreeMap::new(),
        };
        for (index, item) in batch.items.into_iter().enumerate() {
            let item = match item {
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
                (None, None) => IdempotencyKey::generate(),
            };
            let NewAssignment { child, dry_run, .. } = item.new;
            let request = AssignRequest::new(set, item.new, key);
            match dry_run {
                Some(kind) => sorted.dry_runs.push((index, child, kind, request)),
                None => sorted
                    .requests
                    .entry(child)
                    .or_default()
                    .push((index, request)),
            }
        }
        let of_dry_runs = sorted.dry_runs.iter().filter_map(|(_, child, ..)| *child);
        let children: BTreeSet<Uuid> = sorted
            .requests
            .keys()
            .flatten()
            .copied()
            .chain(of_dry_runs)
            .collect();
        if children.len() > MAX_CHILDREN {
            let detail = format!(
                "The items of a batch can name at most {MAX_CHILDREN} different child sets."
            );
            return Err(Error::invalid("/items", detail));
        }
        if sorted.atomicity == Atomicity::AllOrNothing {
            sorted.check_all_or_nothing()?;
        }
        Ok(sorted)
    }

    /// Returns the outcome of each item by its index.
    async fn assign(
        self,
        assignments: &Assignments,
        target: Target,
        caller: Uuid,
        request_id: &str,
    ) -> Result<BTreeMap<usize, ItemOutcome>, Error> {
        let Self {
            count, atomicity, ..
        } = self;
        let mut outcomes = self.refused;
        outcomes.extend(dry_run_all(&assignments.database, target, self.dry_runs).await?);
        if atomicity == Atomicity::AllOrNothing {
            // A failed dry run rejects the batch too, and no code has been assigned yet.
            check_not_withheld(&outcomes, count, request_id)?;
        }
        let assigner = &assignments.assigner;
        outcomes.extend(assign(assigner, target, caller, self.requests, atomicity).await);
        if atomicity == Atomicity::AllOrNothing {
            check_not_withheld(&outcomes, count, request_id)?;
        }
        for index in 0..count {
            outcomes.entry(index).or_insert_with(|| {
                let missing = "a batch item has no result".to_owned();
                Err((None, Error::Internal(missing)))
            });
        }
        Ok(outcomes)
    }

    /// Checks the requirements of `allOrNothing`: every item is valid, all name the same child set, and no key is used for
    /// two contacts.
    fn check_all_or_nothing(&mut self) -> Result<(), Error> {
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
        if self.requests.len() > 1 {
            let detail = "With `allOrNothing`, all items must name the same child set, or none.";
            return Err(Error::invalid("/items", detail));
        }
        let mut contacts = HashMap::new();
        for (index, request) in self.requests.values().flatten() {
            let contact = contacts
                .entry(request.key.hash())
                .or_insert(&request.contact_id);
            if *contact != &request.contact_id {
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

/// Rejects an all-or-nothing batch if an item was refused: nothing was assigned then.
///
/// Exception: codes were assigned, but a contact that occurs twice could not receive the same code again, because it was
/// released in between. Then each item has its own result.
fn check_not_withheld(
    outcomes: &BTreeMap<usize, ItemOutcome>,
    count: usize,
    request_id: &str,
) -> Result<(), Error> {
    let is_assigned = |outcome: &ItemOutcome| matches!(outcome, Ok(assigned) if assigned.outcome == super::AssignOutcome::Assigned && !assigned.test);
    if outcomes.values().any(is_assigned) {
        return Ok(());
    }
    let is_client_error = |error: &Error| error.kind().status.is_client_error();
    let refused: Vec<Value> = outcomes
        .iter()
        .filter_map(|(index, outcome)| {
            let (_, error) = outcome.as_ref().err()?;
            (is_client_error(error) && *error.kind() != BATCH_WITHHELD)
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

async fn dry_run_all(
    database: &Database,
    target: Target,
    dry_runs: Vec<(usize, Option<Uuid>, DryRun, AssignRequest)>,
) -> Result<Vec<(usize, ItemOutcome)>, Error> {
    let not_found = || Error::not_found("coupon set");
    let mut transaction = database.tenant(target.tenant).await?;
    coupon_sets::find_no(&mut transaction, target.tenant, target.set)
        .await?
        .ok_or_else(not_found)?;
    let mut contexts = BTreeMap::new();
    for (_, child, ..) in &dry_runs {
        if !contexts.contains_key(child) {
            let target = Target {
                child: *child,
                ..target
            };
            let context = db::find_dry_run_context(&mut transaction, target)
                .await?
                .ok_or_else(not_found)?;
            contexts.insert(*child, context);
        }
    }
    transaction.commit().await?;
    let run = |(index, child, kind, request): (_, Option<Uuid>, _, AssignRequest)| {
        let key = request.key.as_str().to_owned();
        let outcome = dry_run(&contexts[&child], kind, request);
        (index, outcome.map_err(|error| (Some(key), error)))
    };
    Ok(dry_runs.into_iter().map(run).collect())
}

async fn assign(
    assigner: &AssignBatcher,
    target: Target,
    caller: Uuid,
    requests: BTreeMap<Option<Uuid>, Vec<(usize, AssignRequest)>>,
    atomicity: Atomicity,
) -> Vec<(usize, ItemOutcome)> {
    let size = match atomicity {
        Atomicity::PerItem => BATCH_SIZE,
        Atomicity::AllOrNothing => MAX_ITEMS,
    };
    let mut parts = Vec::new();
    for (child, requests) in requests {
        let target = Target { child, ..target };
        // No part has one item alone, which could be served before those of the other parts.
        let size = requests.len().div_ceil(requests.len().div_ceil(size));
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let part: Vec<_> = requests.by_ref().take(size).collect();
            parts.push(assign_part(assigner, target, caller, part, atomicity));
        }
    }
    join_all(parts).await.into_iter().flatten().collect()
}

async fn assign_part(
    assigner: &AssignBatcher,
    target: Target,
    caller: Uuid,
    part: Vec<(usize, AssignRequest)>,
    atomicity: Atomicity,
) -> Vec<(usize, ItemOutcome)> {
    let items = part
        .iter()
        .map(|(_, request)| request.item(caller))
        .collect();
    let replies = assigner
        .assign(target, items, atomicity, BATCH_TIMEOUT)
        .await;
    part.into_iter()
        .zip(replies)
        .map(|((index, request), reply)| {
            let key = request.key.as_str().to_owned();
            let outcome = request.respond(reply);
            (index, outcome.map_err(|error| (Some(key), error)))
        })
        .collect()
}

impl ItemResult {
    fn new(outcome: ItemOutcome, index: usize, request_id: &str) -> Self {
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

/// Prefixes the pointers of field faults with the index of the item.
fn in_item(error: Error, index: usize) -> Error {
    let Error::Invalid(faults) = error else {
        return error;
    };
    let in_item =
        |fault: Fault| Fault::new(format!("/items/{index}{}", fault.pointer), fault.detail);
    Error::Invalid(faults.into_iter().map(in_item).collect())
}
