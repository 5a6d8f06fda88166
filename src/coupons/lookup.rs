//! Where a code is, in whatever set, and all that happened to it.

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

/// Most assignments that are shown of one set.
const MOST_ASSIGNMENTS: usize = 20;

/// A code as it is written.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Code(String);

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        text(Value::String(code), MAX_CODE_CHARS)
            .map(Self)
            .map_err(|detail| format!("`code` is not valid: {detail}"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    code: Code,
    limit: Option<u16>,
    cursor: Option<String>,
}

/// A set that has the code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    coupon_set: SetName,
    /// Null for a `single` set, whose code many have.
    coupon: Option<Coupon>,
    /// The newest first.
    assignments: Vec<History>,
    /// The list of all of them, if there are more than are shown.
    assignments_url: Option<String>,
}

/// What of a set is shown beside one of its codes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetName {
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
    Query(question): Query<Question>,
) -> Result<Json<Page<Found>>, Error> {
    let Code(code) = question.code;
    let paging: Paging<i32> = Paging::new(question.limit, question.cursor.as_deref())?;
    let page = db::PageRequest {
        after: paging.key().copied(),
        back: paging.back(),
        rows: i32::try_from(paging.rows()).expect("a page is short"),
    };
    let most = i32::try_from(MOST_ASSIGNMENTS + 1).expect("it is small");
    let mut transaction = database.snapshot(caller.tenant).await?;
    let holdings = db::find_holdings(
        &mut transaction,
        caller.tenant,
        &code,
        &fold(&code),
        page,
        most,
    )
    .await?;
    let shown = |holding: &db::Holding| holding.numbers.len().min(MOST_ASSIGNMENTS);
    let places: Vec<AssignmentKey> = holdings
        .iter()
        .flat_map(|holding| {
            let place = |number: &i64| AssignmentKey {
                set_no: holding.set_no,
                number: *number,
            };
            holding.numbers[..shown(holding)].iter().map(place)
        })
        .collect();
    let histories = find_histories(&mut transaction, caller.tenant, &places).await?;
    transaction.commit().await?;

    let mut histories = histories.into_iter();
    let found = holdings
        .into_iter()
        .map(|holding| {
            let shown = shown(&holding);
            let written = holding.coupon.as_ref().map_or(&code, |coupon| &coupon.code);
            let url = assignments_url(holding.coupon_set.id, written);
            let found = Found {
                assignments: histories.by_ref().take(shown).collect(),
                assignments_url: (holding.numbers.len() > shown).then_some(url),
                coupon_set: holding.coupon_set,
                coupon: holding.coupon,
            };
            (holding.set_no, found)
        })
        .collect();
    let page = paging.page(found, &uri, |(set_no, _)| *set_no);
    Ok(Json(page.map(|(_, found)| found)))
}

fn assignments_url(set: Uuid, code: &str) -> String {
    let code = utf8_percent_encode(code, NON_ALPHANUMERIC);
    format!("/v1/assignments?couponSetId={set}&code={code}")
}
