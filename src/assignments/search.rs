//! What may be asked of the list of assignments, and which way into the log answers it.

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::id::Place;
use super::lists::{self, Filter, Slice, Spot};
use super::{Assignment, db};
use crate::coupon_sets;
use crate::error::Error;
use crate::extract::check_text;
use crate::page::Paging;
use crate::tenants::TenantId;

/// The filters of the list; all that are given must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ListQuery {
    /// The set that served.
    coupon_set_id: Option<Uuid>,
    contact_id: Option<String>,
    code: Option<String>,
    workflow_id: Option<String>,
    /// From this moment on.
    from: Option<DateTime<Utc>>,
    /// Before this moment.
    to: Option<DateTime<Utc>>,
    limit: Option<u16>,
    cursor: Option<String>,
}

/// Two moments, the second of which is outside.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

impl Span {
    /// Checks the moments and reads where the page of a list begins.
    pub(crate) fn paging(
        self,
        limit: Option<u16>,
        cursor: Option<&str>,
    ) -> Result<Paging<Spot>, Error> {
        for (name, time) in [("from", self.from), ("to", self.to)] {
            if time.is_some_and(|time| !is_storable(time)) {
                return Err(Error::malformed(format!(
                    "`{name}` must be in the years 1 to 9999."
                )));
            }
        }
        let paging: Paging<Spot> = Paging::new(limit, cursor)?;
        if paging
            .key()
            .is_some_and(|spot| !is_storable(spot.assigned_at))
        {
            return Err(Error::malformed("`cursor` was not returned by this list."));
        }
        Ok(paging)
    }
}

/// PostgreSQL's calendar is shorter than ours.
pub(crate) fn is_storable(time: DateTime<Utc>) -> bool {
    (1..=9999).contains(&time.year())
}

impl ListQuery {
    /// Checks the question and reads where its page begins.
    pub(super) fn paging(&self) -> Result<Paging<Spot>, Error> {
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
        let span = Span {
            from: self.from,
            to: self.to,
        };
        span.paging(self.limit, self.cursor.as_deref())
    }
}

/// Answers the rows of a page, each with where it stands.
pub(super) async fn search(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &ListQuery,
    paging: &Paging<Spot>,
) -> Result<Vec<(Spot, Assignment)>, Error> {
    let set_no = match query.coupon_set_id {
        // Deleted sets too: their history stays readable.
        Some(set) => {
            let found = coupon_sets::find_no_of_any(connection, tenant, set).await?;
            Some(found.ok_or_else(|| Error::not_found("coupon set"))?)
        }
        None => None,
    };
    let spots = find_spots(connection, tenant, query, set_no, paging).await?;
    Ok(find_at(connection, tenant, spots).await?)
}

/// The same of one contact: all that it was given, or what it can still use.
pub(crate) async fn list_of_contact(
    connection: &mut PgConnection,
    tenant: TenantId,
    contact_id: &str,
    span: Span,
    usable: bool,
    paging: &Paging<Spot>,
) -> sqlx::Result<Vec<(Spot, Assignment)>> {
    let filter = Filter {
        from: span.from,
        to: span.to,
        ..Filter::default()
    };
    let slice = slice_of(paging);
    let spots =
        lists::list_by_contact(connection, tenant, contact_id, &filter, usable, slice).await?;
    find_at(connection, tenant, spots).await
}

async fn find_at(
    connection: &mut PgConnection,
    tenant: TenantId,
    spots: Vec<Spot>,
) -> sqlx::Result<Vec<(Spot, Assignment)>> {
    let place = |spot: &Spot| Place {
        set_no: spot.set_no,
        number: spot.number,
    };
    let places: Vec<Place> = spots.iter().map(place).collect();
    let found = db::find(connection, tenant, &places).await?;
    Ok(spots.into_iter().zip(found).collect())
}

fn slice_of(paging: &Paging<Spot>) -> Slice {
    Slice {
        after: paging.key().copied(),
        back: paging.back(),
        rows: paging.rows(),
    }
}

/// The narrowest way in goes first; what else is asked for filters what it finds.
async fn find_spots(
    connection: &mut PgConnection,
    tenant: TenantId,
    query: &ListQuery,
    set_no: Option<i32>,
    paging: &Paging<Spot>,
) -> sqlx::Result<Vec<Spot>> {
    let contact_id = query.contact_id.as_deref();
    let workflow_id = query.workflow_id.as_deref();
    let filter = Filter {
        set_no,
        workflow_id,
        from: query.from,
        to: query.to,
    };
    let slice = slice_of(paging);
    if let Some(code) = &query.code {
        lists::list_by_code(connection, tenant, code, contact_id, &filter, slice).await
    } else if let Some(contact_id) = contact_id {
        lists::list_by_contact(connection, tenant, contact_id, &filter, false, slice).await
    } else if let Some(set_no) = set_no {
        lists::list_by_set(connection, tenant, set_no, &filter, slice).await
    } else if let Some(workflow_id) = workflow_id {
        lists::list_by_workflow(connection, tenant, workflow_id, &filter, slice).await
    } else {
        lists::list_by_time(connection, tenant, &filter, slice).await
    }
}
