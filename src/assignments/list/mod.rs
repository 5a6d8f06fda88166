//! Reads assignments: by key, as filtered lists, and as CSV exports of a period.

mod db;
mod export;
mod http;
mod search;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub(crate) use db::find;
pub(crate) use export::stream as export;
pub(super) use http::routes;
pub(crate) use search::list_of_contact;

use crate::http::error::Error;
use crate::http::page::Paging;
use crate::time_zone::is_storable;

/// The position of a row in a list. Lists are ordered by time, newest first, then by set and number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct AssignmentCursor {
    pub assigned_at: DateTime<Utc>,
    pub set_no: i32,
    pub number: i64,
}

/// A period from `from` (inclusive) to `to` (exclusive).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TimeRange {
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

impl TimeRange {
    /// Validates the times, the limit and the cursor of a list request.
    pub(crate) fn paging(
        self,
        limit: Option<u16>,
        cursor: Option<&str>,
    ) -> Result<Paging<AssignmentCursor>, Error> {
        for (name, time) in [("from", self.from), ("to", self.to)] {
            if time.is_some_and(|time| !is_storable(time)) {
                return Err(Error::malformed(format!(
                    "`{name}` must be in the years 1 to 9999."
                )));
            }
        }
        let paging: Paging<AssignmentCursor> = Paging::new(limit, cursor)?;
        if paging
            .key()
            .is_some_and(|cursor| !is_storable(cursor.assigned_at))
        {
            return Err(Error::malformed("`cursor` was not returned by this list."));
        }
        Ok(paging)
    }
}
