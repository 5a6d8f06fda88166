//! Coupon sets: named sources of codes. A set may fall back to a child set.
//!
//! Changes of the shape of a tenant's sets run one at a time per tenant, under the set-shape lock. They are: creating a
//! set, changing its child, deleting it, and referring to it from a workflow. Without the lock two concurrent changes,
//! each valid by itself, could close a cycle or refer to a deleted set.

mod availability;
mod db;
mod http;
mod policies;
mod retention;
mod stock;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

pub(crate) use db::{find_no, find_no_of_any, find_nos};
pub(crate) use policies::OnRepeat;
pub(crate) use retention::spawn;

use crate::database::{Database, locks};
use crate::dirty_sets::DirtySets;
use crate::http::error::{
    CHILD_SET_CHAIN_TOO_LONG, CHILD_SET_CYCLE, COUPON_SET_IN_USE, COUPON_SET_REFERENCED, Error,
    NAME_TAKEN, OnConstraint, QUANTITY_BELOW_ASSIGNED, SINGLE_SET,
};
use crate::http::extract::{FieldValue, Fields, FromFields, integer, present, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::ids::TenantId;
use crate::tenants::auth::Auth;
use crate::text::{MAX_CODE_CHARS, fold};
use crate::text_enum::text_enum;
use crate::workflows::{self, WorkflowSummary};
use policies::{Policies, SameCodeUntil};
use stock::Stock;

feature_state! {
    /// State of the routes of coupon sets.
    CouponSets { auth: Auth, database: Database, dirty_sets: DirtySets, }
}

impl CouponSets {
    pub(crate) fn new(auth: &Auth, database: &Database, dirty_sets: &DirtySets) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            dirty_sets: dirty_sets.clone(),
        }))
    }
}

pub(crate) fn routes(state: CouponSets) -> Routes {
    http::routes().with_state(state)
}

/// A coupon set with exact counters.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CouponSet {
    #[serde(skip)]
    pub set_no: i32,
    pub id: Uuid,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Type,
    /// Only for a `single` set.
    pub code: Option<String>,
    /// Codes that the set has or had, except withdrawn ones. Null if unlimited.
    pub quantity: Option<i64>,
    /// Null if unlimited, 0 once the set has expired.
    pub available: Option<i64>,
    pub reserved: i64,
    /// Codes that contacts hold, including used ones and excluding reserved ones.
    pub assigned: i64,
    pub sent: i64,
    pub used: i64,
    /// Number of releases of codes, including those by expired reservations.
    pub released: i64,
    pub void: i64,
    /// Codes that expired unassigned.
    pub expired: i64,
    /// Withdrawn codes, which are not part of `quantity`.
    pub withdrawn: i64,
    pub child_coupon_set_id: Option<Uuid>,
    pub state: SetState,
    pub stock: Stock,
    /// The set is low at this number of available codes or fewer.
    pub low_stock_threshold: Option<i32>,
    /// Unfinished workflows.
    pub used_in_workflows: Json<Vec<WorkflowSummary>>,
    pub on_repeat: OnRepeat,
    pub same_code_until: SameCodeUntil,
    pub assignments_per_contact: Option<i32>,
    pub expires_at: Option<DateTime<Utc>>,
    pub timezone: String,
    pub valid_for_days: Option<i32>,
    /// Imports reject codes that another set of the tenant has.
    pub unique_in_tenant: bool,
    /// Codes that differ only in case are duplicates.
    pub ignore_case: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    #[serde(skip)]
    pub sort_key: String,
}

/// Name of a set: 1 to 200 characters, unique in the tenant ignoring case.
#[derive(Debug)]
pub(crate) struct SetName(String);

impl SetName {
    /// Returns the case-folded name, which is compared.
    fn key(&self) -> String {
        fold(&self.0)
    }
}

impl FieldValue for SetName {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 200).map(Self)
    }
}

text_enum! {
    /// Type of a set. `single`: one code for many uses. `multiple`: many codes for one use each.
    pub(crate) enum Type {
        Single = "single",
        Multiple = "multiple",
    }
}

text_enum! {
    /// Availability of codes in a set, without its child sets. A set is in exactly one of these states.
    pub(crate) enum SetState {
        Active = "active",
        Expired = "expired",
        Exhausted = "exhausted",
    }
}

text_enum! {
    /// A fault of a chain of child sets, as the database function `coupon_set_chain` reports it.
    pub(crate) enum ChainFault {
        ChildNotFound = "childNotFound",
        ChildCycle = "childCycle",
        ChainTooLong = "chainTooLong",
    }
}

/// The code of a `single` set.
#[derive(Debug)]
pub(crate) struct SingleCode(String);

impl FieldValue for SingleCode {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, MAX_CODE_CHARS).map(Self)
    }
}

/// A number of uses, assignments or days: from 1 to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count<const MAX: i32>(i32);

impl<const MAX: i32> FieldValue for Count<MAX> {
    fn from_value(value: Value) -> Result<Self, String> {
        let number = integer(&value, 1, i64::from(MAX))?;
        Ok(Self(i32::try_from(number).expect("the range was checked")))
    }
}

/// Uses of a `single` set.
type Quantity = Count<{ i32::MAX }>;

#[derive(Debug)]
pub(crate) struct NewCouponSet {
    name: SetName,
    kind: Type,
    code: Option<SingleCode>,
    quantity: Option<Quantity>,
    child: Option<Uuid>,
    policies: Policies,
}

impl FromFields for NewCouponSet {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name");
        let kind = fields.required("type");
        if kind == Some(Type::Multiple) {
            for field in ["code", "quantity"] {
                fields.refuse(
                    field,
                    "This field is only allowed for a set of type \"single\".",
                );
            }
        }
        if kind == Some(Type::Single) {
            for field in ["uniqueInTenant", "ignoreCase"] {
                fields.refuse(field, policies::ONLY_MULTIPLE);
            }
        }
        let code = if kind == Some(Type::Single) {
            fields.required("code")
        } else {
            fields.optional("code")
        };
        let quantity = fields.optional("quantity");
        let child = fields.optional("childCouponSetId");
        let policies = Policies::of_new(fields);
        Some(Self {
            name: name?,
            kind: kind?,
            code,
            quantity,
            child,
            policies,
        })
    }
}

/// Changes of a set. Absent fields keep their values.
#[derive(Debug)]
#[expect(
    clippy::option_option,
    reason = "a patch distinguishes absent, null and a value"
)]
pub(crate) struct CouponSetPatch {
    name: Option<SetName>,
    quantity: Option<Option<Quantity>>,
    child: Option<Option<Uuid>>,
    policies: Policies,
}

impl FromFields for CouponSetPatch {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        for field in ["type", "code"] {
            fields.refuse(field, "This cannot be changed.");
        }
        Some(Self {
            name: present(fields, "name"),
            quantity: fields.nullable("quantity"),
            child: fields.nullable("childCouponSetId"),
            policies: Policies::of_patch(fields),
        })
    }
}

async fn create(
    database: &Database,
    tenant: TenantId,
    new: NewCouponSet,
) -> Result<CouponSet, Error> {
    let mut transaction = database.tenant(tenant).await?;
    locks::lock_set_shape(&mut transaction, tenant).await?;
    let child_no = match new.child {
        Some(child) => Some(find_child(&mut transaction, tenant, child).await?),
        None => None,
    };
    let row = db::NewSetRow {
        id: Uuid::now_v7(),
        name: &new.name.0,
        name_key: &new.name.key(),
        kind: new.kind,
        code: new.code.as_ref().map(|code| code.0.as_str()),
        quantity: new.quantity.map(|quantity| quantity.0),
        child_no,
    };
    let set_no = db::create(&mut transaction, tenant, &row)
        .await
        .on_constraint("coupon_sets_name_key", || name_taken(&new.name))?;
    check_chain(&mut transaction, tenant, set_no).await?;
    let set = db::find(&mut transaction, tenant, row.id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    new.policies
        .write(&mut transaction, tenant, set_no, set)
        .await?;
    let set = find(&mut transaction, tenant, row.id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok(set)
}

/// Finds a set, with its stock by the forecast.
async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<CouponSet>> {
    let mut set = db::find(connection, tenant, id).await?;
    stock::mark_low(connection, tenant, set.as_mut_slice()).await?;
    Ok(set)
}

/// Finds the number of a set into which codes can be imported. Sets of type `single` are rejected.
pub(crate) async fn find_fillable(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> Result<i32, Error> {
    match db::find_no_and_kind(connection, tenant, id).await? {
        None => Err(Error::not_found("coupon set")),
        Some((set_no, Type::Multiple)) => Ok(set_no),
        Some((_, Type::Single)) => Err(Error::refused(
            &SINGLE_SET,
            "A set of type \"single\" has only one code: imports, the list of codes and withdrawals are not supported.",
        )),
    }
}

async fn find_child(
    connection: &mut PgConnection,
    tenant: TenantId,
    child: Uuid,
) -> Result<i32, Error> {
    find_no(connection, tenant, child)
        .await?
        .ok_or_else(|| child_not_found("/childCouponSetId"))
}

impl ChainFault {
    /// Converts the fault into a response. `pointer` refers to the field of the request that names the child.
    pub(crate) fn into_error(self, pointer: &str) -> Error {
        match self {
            Self::ChildNotFound => child_not_found(pointer),
            Self::ChildCycle => child_cycle(),
            Self::ChainTooLong => chain_too_long(),
        }
    }
}

fn child_not_found(pointer: &str) -> Error {
    Error::invalid(pointer, "The child set does not exist.")
}

fn child_cycle() -> Error {
    Error::refused(
        &CHILD_SET_CYCLE,
        "A coupon set cannot fall back to itself, neither directly nor through other sets.",
    )
}

fn chain_too_long() -> Error {
    Error::refused(
        &CHILD_SET_CHAIN_TOO_LONG,
        "A chain can have at most five coupon sets, including the requested one.",
    )
}

/// Rejects a change after which a chain that contains this set forms a cycle or is too long.
async fn check_chain(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> Result<(), Error> {
    match db::find_chain_fault(connection, tenant, set_no).await? {
        None => Ok(()),
        Some(fault) => Err(fault.into_error("/childCouponSetId")),
    }
}

fn name_taken(name: &SetName) -> Error {
    Error::refused(
        &NAME_TAKEN,
        format!("A coupon set named \"{}\" already exists.", name.0),
    )
}

async fn patch(
    database: &Database,
    tenant: TenantId,
    id: Uuid,
    patch: CouponSetPatch,
) -> Result<CouponSet, Error> {
    let not_found = || Error::not_found("coupon set");
    let mut transaction = database.tenant(tenant).await?;
    if patch.child.is_some() {
        locks::lock_set_shape(&mut transaction, tenant).await?;
    }
    if patch.policies.changes_ignore_case() {
        locks::lock_imports(&mut transaction, tenant).await?;
    }
    // The lock excludes assignments until the commit.
    let set_no = db::lock(&mut transaction, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    let before = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or_else(not_found)?;

    if let Some(quantity) = patch.quantity {
        if before.kind == Type::Multiple {
            return Err(Error::invalid(
                "/quantity",
                "This field is only allowed for a set of type \"single\".",
            ));
        }
        let taken = before.reserved + before.assigned + before.void;
        if let Some(quantity) = quantity.filter(|quantity| i64::from(quantity.0) < taken) {
            let detail = format!(
                "The quantity {} is less than the {taken} uses that are already assigned, reserved or void.",
                quantity.0
            );
            return Err(Error::refused(&QUANTITY_BELOW_ASSIGNED, detail).with("assigned", taken));
        }
        db::set_quantity(
            &mut transaction,
            tenant,
            set_no,
            quantity.map(|quantity| quantity.0),
        )
        .await?;
    }
    if let Some(child) = patch.child {
        let child_no = match child {
            Some(child) => Some(find_child(&mut transaction, tenant, child).await?),
            None => None,
        };
        if child_no == Some(set_no) {
            return Err(child_cycle());
        }
        db::set_child(&mut transaction, tenant, set_no, child_no).await?;
        check_chain(&mut transaction, tenant, set_no).await?;
    }
    if let Some(name) = &patch.name {
        db::set_name(&mut transaction, tenant, set_no, &name.0, &name.key())
            .await
            .on_constraint("coupon_sets_name_key", || name_taken(name))?;
    }
    patch
        .policies
        .write(&mut transaction, tenant, set_no, before)
        .await?;
    let after = find(&mut transaction, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    transaction.commit().await?;
    Ok(after)
}

/// Deletes a set and cancels its queued and running imports. Its assignments remain readable.
async fn delete(database: &Database, tenant: TenantId, id: Uuid) -> Result<(), Error> {
    let mut transaction = database.tenant(tenant).await?;
    locks::lock_set_shape(&mut transaction, tenant).await?;
    let set_no = db::lock(&mut transaction, tenant, id)
        .await?
        .ok_or_else(|| Error::not_found("coupon set"))?;
    let parents = db::list_parents(&mut transaction, tenant, set_no).await?;
    if !parents.is_empty() {
        let detail = format!(
            "The coupon set is the child set of: {}. Change or delete these sets first.",
            parents.join(", ")
        );
        return Err(Error::refused(&COUPON_SET_REFERENCED, detail).with("couponSets", parents));
    }
    let workflows = workflows::list_of_set(&mut transaction, tenant, set_no).await?;
    let blocking: Vec<&WorkflowSummary> = workflows
        .iter()
        .filter(|workflow| workflow.blocks_set_deletion())
        .collect();
    if !blocking.is_empty() {
        return Err(in_use(&blocking));
    }
    workflows::remove_set(&mut transaction, tenant, set_no).await?;
    db::delete(&mut transaction, tenant, set_no).await?;
    transaction.commit().await?;
    Ok(())
}

fn in_use(workflows: &[&WorkflowSummary]) -> Error {
    let names: Vec<&str> = workflows
        .iter()
        .map(|workflow| workflow.name.as_str())
        .collect();
    let detail = format!(
        "The coupon set is used by these workflows: {}. Finish them or change their sets first.",
        names.join(", ")
    );
    let workflows = serde_json::to_value(workflows).expect("a workflow is plain data");
    Error::refused(&COUPON_SET_IN_USE, detail).with("workflows", workflows)
}
