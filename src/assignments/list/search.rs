//! Filters of the list of assignments, and the access path to the log for each of them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::db::{self, AssignmentFilter, PageRequest};
use super::{AssignmentCursor, TimeRange};
use crate::assignments::Assignment;
use crate::coupon_sets;
use crate::http::error::Error;
use crate::http::extract::check_text;
use crate::http::page::Paging;
use crate::ids::{AssignmentKey, TenantId};

/// Filters of the list. An assignment must match all that are present.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ListQuery {
    /// The set that the code is from.
    coupon_set_id: Option<Uuid>,
    contact_id: Option<String>,
    code: Option<String>,
    workflow_id: Option<String>,
    /// Start of the period, inclusive.
    from: Option<DateTime<Utc>>,
    /// End of the period, exclusive.
    to: Option<DateTime<Utc>>,
    limit: Option<u16>,
    cursor: Option<String>,
}

impl ListQuery {
    /// Validates the filters, the limit and the cursor.
    pub(super) fn paging(&self) -> Result<Paging<AssignmentCursor>, Error> {
        let texts = [
            ("contactId", &self.contact_id),
            ("code", &self.code),
            ("workflowId", &self.workflow_id),
        ];
        for (name, text) in texts {
            if let Some(detail) = text.as_deref().and_then(|text| check_text(text, 255).err()) {
                return Err(Error::malformed(format!("`{name}` is not valid: {detail}")));
            }
        }
        let range = TimeRange {
            from: self.from,
            to: self.to,
        };
        range.paging(self.limit, self.cursor.as_deref())
    }
}

/// Reads the rows of a page, each with its cursor.
pub(super) async fn search(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &ListQuery,
    paging: &Paging<AssignmentCursor>,
) -> Result<Vec<(AssignmentCursor, Assignment)>, Error> {
    let set_no = match query.coupon_set_id {
        // Includes deleted sets: their history stays readable.
        Some(set) => {
            let found = coupon_sets::find_no_of_any(connection, tenant, set).await?;
            Some(found.ok_or_else(|| Error::not_found("coupon set"))?)
        }
        None => None,
    };
    let cursors = find_cursors(connection, tenant, query, set_no, paging).await?;
    Ok(find_at(connection, tenant, cursors).await?)
}

/// Reads the rows of a page of one contact. With `usable`, only assignments whose code can still be used.
pub(crate) async fn list_of_contact(
    connection: &mut PgConnection,
    tenant: TenantId,
    contact_id: &str,
    range: TimeRange,
    usable: bool,
    paging: &Paging<AssignmentCursor>,
) -> sqlx::Result<Vec<(AssignmentCursor, Assignment)>> {
    let filter = AssignmentFilter {
        from: range.from,
        to: range.to,
        ..AssignmentFilter::default()
    };
    let page = page_request(paging);
    let cursors =
        db::list_by_contact(connection, tenant, contact_id, &filter, usable, page).await?;
    find_at(connection, tenant, cursors).await
}

async fn find_at(
    connection: &mut PgConnection,
    tenant: TenantId,
    cursors: Vec<AssignmentCursor>,
) -> sqlx::Result<Vec<(AssignmentCursor, Assignment)>> {
    let key = |cursor: &AssignmentCursor| AssignmentKey {
        set_no: cursor.set_no,
        number: cursor.number,
    };
    let keys: Vec<AssignmentKey> = cursors.iter().map(key).collect();
    let found = db::find(connection, tenant, &keys).await?;
    Ok(cursors.into_iter().zip(found).collect())
}

fn page_request(paging: &Paging<AssignmentCursor>) -> PageRequest {
    PageRequest {
        after: paging.key().copied(),
        back: paging.back(),
        rows: paging.rows(),
    }
}

/// Uses the most selective access path. The other filters apply to the rows that it finds.
async fn find_cursors(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &ListQuery,
    set_no: Option<i32>,
    paging: &Paging<AssignmentCursor>,
) -> sqlx::Result<Vec<AssignmentCursor>> {
    let contact_id = query.contact_id.as_deref();
    let workflow_id = query.workflow_id.as_deref();
    let filter = AssignmentFilter {
        set_no,
        workflow_id,
        from: query.from,
        to: query.to,
    };
    let page = page_request(paging);
    if let Some(code) = &query.code {
        db::list_by_code(connection, tenant, code, contact_id, &filter, page).await
    } else if let Some(contact_id) = contact_id {
        db::list_by_contact(connection, tenant, contact_id, &filter, false, page).await
    } else if let Some(set_no) = set_no {
        db::list_by_set(connection, tenant, set_no, &filter, page).await
    } else if let Some(workflow_id) = workflow_id {
        db::list_by_workflow(connection, tenant, workflow_id, &filter, page).await
    } else {
        db::list_by_time(connection, tenant, &filter, page).await
    }
}
