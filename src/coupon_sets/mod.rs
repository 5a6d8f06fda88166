//! Coupon sets: named sources of codes, of which a set may fall back to a child set.
//!
//! What changes the shape of a tenant's sets (creating, changing a child, deleting, naming them in a workflow) runs one at
//! a time per tenant; otherwise two changes at once, each right by itself, could close a cycle or use a set that is gone.

mod availability;
mod db;
mod http;
mod policies;
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
use crate::workflows::{self, User};
use policies::{Policies, SameCodeUntil};
use stock::Stock;

feature_state! {
    /// What the routes of coupon sets work with.
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

/// A coupon set with its counters, which are exact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CouponSet {
    #[serde(skip)]
    pub set_no: i32,
    pub id: Uuid,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Type,
    /// Only of a `single` set.
    pub code: Option<String>,
    /// Codes that the set has or had to give, withdrawn ones aside; null if unlimited.
    pub quantity: Option<i64>,
    /// Null if unlimited; none once the set has expired.
    pub available: Option<i64>,
    pub reserved: i64,
    /// What contacts hold and is not reserved, used ones included.
    pub assigned: i64,
    pub sent: i64,
    pub used: i64,
    /// How often a code was given back, by reservations that ran out too.
    pub released: i64,
    pub void: i64,
    /// Codes that expired before anybody got them.
    pub expired: i64,
    /// How many codes were withdrawn; they are no part of the quantity.
    pub withdrawn: i64,
    pub child_coupon_set_id: Option<Uuid>,
    pub state: SetState,
    pub stock: Stock,
    /// From this many available codes on downwards the set is low.
    pub low_stock_threshold: Option<i32>,
    /// Those that are not finished.
    pub used_in_workflows: Json<Vec<User>>,
    pub on_repeat: OnRepeat,
    pub same_code_until: SameCodeUntil,
    pub assignments_per_contact: Option<i32>,
    pub expires_at: Option<DateTime<Utc>>,
    pub timezone: String,
    pub valid_for_days: Option<i32>,
    /// Imports take no code that another set of the tenant has.
    pub unique_in_tenant: bool,
    /// A code is a duplicate of one that differs in case alone.
    pub ignore_case: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    #[serde(skip)]
    pub sort_key: String,
}

/// Name of a set: 1 to 200 characters, unique in the tenant without regard to case.
#[derive(Debug)]
pub(crate) struct Name(String);

impl Name {
    /// What is compared: the name without regard to case.
    fn key(&self) -> String {
        fold(&self.0)
    }
}

impl FieldValue for Name {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 200).map(Self)
    }
}

text_enum! {
    /// `single`: one code for many uses. `multiple`: many codes for one use each.
    pub(crate) enum Type {
        Single = "single",
        Multiple = "multiple",
    }
}

text_enum! {
    /// Whether a set itself has something to give; each is in exactly one of these states.
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
pub(crate) struct Code(String);

impl FieldValue for Code {
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
    name: Name,
    kind: Type,
    code: Option<Code>,
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

/// Only what is present is changed.
#[derive(Debug)]
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three things in a patch"
)]
pub(crate) struct CouponSetPatch {
    name: Option<Name>,
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
    let row = db::NewRow {
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

/// Finds a set as it is shown.
async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<Option<CouponSet>> {
    let mut set = db::find(connection, tenant, id).await?;
    stock::mark(connection, tenant, set.as_mut_slice()).await?;
    Ok(set)
}

/// Finds a set that imports fill, so one that has coupons: of type `multiple`.
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
    /// `pointer` is where the request names the child.
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

/// Refuses the chains that lead through this set if one of them is a cycle or too long.
async fn check_chain(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_no: i32,
) -> Result<(), Error> {
    match db::chain_fault(connection, tenant, set_no).await? {
        None => Ok(()),
        Some(fault) => Err(fault.into_error("/childCouponSetId")),
    }
}

fn name_taken(name: &Name) -> Error {
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
    if patch.policies.tell_case() {
        locks::lock_imports(&mut transaction, tenant).await?;
    }
    // Nothing can be assigned from here to the commit.
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

/// The set can no longer be asked; what it gave stays readable. Its queued and running imports are cancelled.
async fn delete(database: &Database, tenant: TenantId, id: Uuid) -> Result<(), Error> {
    let mut transaction = database.tenant(tenant).await?;
    locks::lock_set_shape(&mut transaction, tenant).await?;
    let set_no = db::lock(&mut transaction, tenant, id)
        .await?
        .ok_or_else(|| Error::not_found("coupon set"))?;
    let parents = db::parents(&mut transaction, tenant, set_no).await?;
    if !parents.is_empty() {
        let detail = format!(
            "The coupon set is the child set of: {}. Change or delete these sets first.",
            parents.join(", ")
        );
        return Err(Error::refused(&COUPON_SET_REFERENCED, detail).with("couponSets", parents));
    }
    let users = workflows::list_users(&mut transaction, tenant, set_no).await?;
    let hold: Vec<&User> = users.iter().filter(|user| user.holds_its_sets()).collect();
    if !hold.is_empty() {
        return Err(in_use(&hold));
    }
    workflows::forget_set(&mut transaction, tenant, set_no).await?;
    db::delete(&mut transaction, tenant, set_no).await?;
    transaction.commit().await?;
    Ok(())
}

fn in_use(users: &[&User]) -> Error {
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    let detail = format!(
        "The coupon set is used by these workflows: {}. Finish them or change their sets first.",
        names.join(", ")
    );
    let users = serde_json::to_value(users).expect("a workflow is plain data");
    Error::refused(&COUPON_SET_IN_USE, detail).with("workflows", users)
}
