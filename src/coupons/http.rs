//! `…/coupons`.

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::db::{self, Withdrawal};
use super::{CouponBatch, CouponCursor, CouponFilter, CouponStatus, Coupons, export, lookup};
use crate::coupon_sets;
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::csv_export::{Format, asks_for_csv};
use crate::http::error::Error;
use crate::http::extract::{Fields, Json, Path, Query, check_text, text};
use crate::http::fields::Reason;
use crate::http::list_body::{self, JsonList, ListBody};
use crate::http::page::Paging;
use crate::http::routes::Routes;
use crate::ids::{SetKey, TenantId};
use crate::tenants::auth::{Caller, CouponSetsRead, CouponSetsWrite};
use crate::text::MAX_CODE_CHARS;

/// Maximum number of codes in a withdrawal.
const MAX_CODES: usize = 10_000;

pub(super) fn routes() -> Routes<Coupons> {
    Routes::new()
        .get("/v1/coupons", lookup::find)
        .get("/v1/coupon-sets/{couponSetId}/coupons", list)
        .post("/v1/coupon-sets/{couponSetId}/coupons/withdraw", withdraw)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<CouponStatus>,
    prefix: Option<String>,
    format: Option<Format>,
    limit: Option<u16>,
    cursor: Option<String>,
}

impl ListQuery {
    /// Validates the parameters and decodes the cursor.
    fn paging(&self) -> Result<Paging<CouponCursor>, Error> {
        let prefix = self.prefix.as_deref();
        if let Some(detail) = prefix.and_then(|prefix| check_text(prefix, MAX_CODE_CHARS).err()) {
            return Err(Error::malformed(format!("`prefix` is not valid: {detail}")));
        }
        Paging::new(self.limit, self.cursor.as_deref())
    }

    fn filter(&self, set_no: i32) -> CouponFilter {
        CouponFilter {
            set_no,
            status: self.status,
            prefix: self.prefix.clone(),
        }
    }
}

/// Returns a page as JSON, or the whole list as CSV.
async fn list(
    State(database): State<Database>,
    caller: Caller<CouponSetsRead>,
    Path(set): Path<Uuid>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Response, Error> {
    let paging = query.paging()?;
    let mut transaction = database.tenant(caller.tenant).await?;
    let set_no = coupon_sets::find_fillable(&mut transaction, caller.tenant, set).await?;
    let filter = query.filter(set_no);
    if asks_for_csv(&headers, query.format) {
        transaction.commit().await?;
        if query.limit.is_some() || query.cursor.is_some() {
            let detail =
                "The text/csv export contains the whole list; remove `limit` and `cursor`.";
            return Err(Error::malformed(detail));
        }
        return Ok(export::stream(database, caller.tenant, set, filter));
    }
    let batch = read_page(&mut transaction, caller.tenant, &filter, &paging).await?;
    transaction.commit().await?;
    let cursor = |(cursor, _): &(CouponCursor, _)| cursor.clone();
    let page = paging.sparse_page(batch.coupons, &uri, cursor, batch.next);
    Ok(Json(page.map(|(_, coupon)| coupon)).into_response())
}

async fn read_page(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &CouponFilter,
    paging: &Paging<CouponCursor>,
) -> Result<CouponBatch, Error> {
    let after = match paging.key() {
        Some(cursor) if !filter.accepts(cursor) => {
            return Err(Error::malformed("`cursor` was not returned by this list."));
        }
        Some(cursor) => cursor.clone(),
        None => filter.start(),
    };
    let rows = i32::try_from(paging.rows()).expect("a page is short");
    Ok(super::read(connection, tenant, filter, &after, paging.back(), rows).await?)
}

/// Body of a withdrawal: codes that must not be assigned any more.
#[derive(Debug)]
struct NewWithdrawal {
    codes: Vec<String>,
    reason: Option<String>,
}

impl ListBody for NewWithdrawal {
    const LIST: &'static str = "codes";
    const MAX_ITEMS: usize = MAX_CODES;
    type Item = Result<String, String>;

    fn item(value: Value) -> Self::Item {
        text(value, MAX_CODE_CHARS)
    }

    fn from_fields(codes: Vec<Self::Item>, fields: &mut Fields) -> Option<Self> {
        let reason = fields.optional("reason").map(|Reason(reason)| reason);
        let mut valid = Vec::with_capacity(codes.len());
        for (index, code) in codes.into_iter().enumerate() {
            match code {
                Ok(code) => valid.push(code),
                Err(detail) => {
                    fields.fault_of_item("codes", index, detail);
                    return None;
                }
            }
        }
        Some(Self {
            codes: valid,
            reason,
        })
    }
}

/// A code, and the result of its withdrawal.
#[derive(Debug, Serialize)]
struct WithdrawalResult {
    code: String,
    #[serde(flatten)]
    withdrawal: Withdrawal,
}

async fn withdraw(
    State(database): State<Database>,
    State(dirty_sets): State<DirtySets>,
    caller: Caller<CouponSetsWrite>,
    Path(set): Path<Uuid>,
    JsonList(new, memory): JsonList<NewWithdrawal>,
) -> Result<Response, Error> {
    let mut transaction = database.tenant(caller.tenant).await?;
    let set_no = coupon_sets::find_fillable(&mut transaction, caller.tenant, set).await?;
    let withdrawals = db::withdraw(
        &mut transaction,
        caller.tenant,
        set_no,
        &new.codes,
        Some(caller.key),
        new.reason.as_deref(),
    )
    .await?;
    transaction.commit().await?;
    if withdrawals.is_empty() {
        return Err(Error::not_found("coupon set"));
    }
    dirty_sets.mark(SetKey {
        tenant: caller.tenant,
        set_no,
    });
    let results = new.codes.into_iter().zip(withdrawals);
    let results = results.map(|(code, withdrawal)| WithdrawalResult { code, withdrawal });
    Ok(list_body::respond(results, memory))
}
