//! Lookup of a code: the sets of the tenant that have it, and its history in each.

use axum::extract::{OriginalUri, State};
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Coupon, db};
use crate::assignments::{History, find_histories};
use crate::coupon_sets::{SetState, Type};
use crate::database::Database;
use crate::http::error::Error;
use crate::http::extract::{Json, Query, text};
use crate::http::page::{Page, Paging};
use crate::ids::AssignmentKey;
use crate::tenants::auth::{Caller, CouponSetsRead};
use crate::text::{MAX_CODE_CHARS, fold};

/// Maximum number of assignments returned for one set.
const MAX_ASSIGNMENTS: usize = 20;

/// The code to look up.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct LookupCode(String);

impl TryFrom<String> for LookupCode {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        text(Value::String(code), MAX_CODE_CHARS)
            .map(Self)
            .map_err(|detail| format!("`code` is not valid: {detail}"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookupQuery {
    code: LookupCode,
    limit: Option<u16>,
    cursor: Option<String>,
}

/// A set that has the code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CodeMatch {
    coupon_set: SetSummary,
    /// Null for a `single` set, which assigns its code many times.
    coupon: Option<Coupon>,
    /// Newest first.
    assignments: Vec<History>,
    /// List of all assignments, if there are more than `assignments` has.
    assignments_url: Option<String>,
}

/// Summary of a set that has the code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetSummary {
    pub id: Uuid,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Type,
    pub state: SetState,
    pub timezone: String,
    pub deleted_at: Option<DateTime<Utc>>,
}

pub(super) async fn find(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<LookupQuery>,
) -> Result<Json<Page<CodeMatch>>, Error> {
    let LookupCode(code) = query.code;
    let paging: Paging<i32> = Paging::new(query.limit, query.cursor.as_deref())?;
    let page = db::SetPageRequest {
        after: paging.key().copied(),
        back: paging.back(),
        rows: i32::try_from(paging.rows()).expect("a page is short"),
    };
    let max_assignments = i32::try_from(MAX_ASSIGNMENTS + 1).expect("it is small");
    let mut transaction = database.snapshot(caller.tenant).await?;
    let sets = db::find_sets_with_code(
        &mut transaction,
        caller.tenant,
        &code,
        &fold(&code),
        page,
        max_assignments,
    )
    .await?;
    let shown = |set: &db::MatchingSet| set.numbers.len().min(MAX_ASSIGNMENTS);
    let keys: Vec<AssignmentKey> = sets
        .iter()
        .flat_map(|set| {
            let key = |number: &i64| AssignmentKey {
                set_no: set.set_no,
                number: *number,
            };
            set.numbers[..shown(set)].iter().map(key)
        })
        .collect();
    let histories = find_histories(&mut transaction, caller.tenant, &keys).await?;
    transaction.commit().await?;

    let mut histories = histories.into_iter();
    let matches = sets
        .into_iter()
        .map(|set| {
            let shown = shown(&set);
            let written = set.coupon.as_ref().map_or(&code, |coupon| &coupon.code);
            let url = assignments_url(set.coupon_set.id, written);
            let code_match = CodeMatch {
                assignments: histories.by_ref().take(shown).collect(),
                assignments_url: (set.numbers.len() > shown).then_some(url),
                coupon_set: set.coupon_set,
                coupon: set.coupon,
            };
            (set.set_no, code_match)
        })
        .collect();
    let page = paging.page(matches, &uri, |(set_no, _)| *set_no);
    Ok(Json(page.map(|(_, code_match)| code_match)))
}

fn assignments_url(set: Uuid, code: &str) -> String {
    let code = utf8_percent_encode(code, NON_ALPHANUMERIC);
    format!("/v1/assignments?couponSetId={set}&code={code}")
}
