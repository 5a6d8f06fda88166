//! Policies of a coupon set: repeated assignment to a contact, validity of codes, duplicate codes, and the threshold of
//! low stock.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Count, CouponSet, Type, db};
use crate::http::error::{Error, WRONG_STATE};
use crate::http::extract::{FieldValue, Fields, integer};
use crate::ids::TenantId;
use crate::text_enum::text_enum;
use crate::time_zone::Zone;

pub(super) const ONLY_MULTIPLE: &str = "This field is only allowed for a set of type \"multiple\".";

text_enum! {
    /// Result of an assignment to a contact that already holds a code of the set.
    pub(crate) enum OnRepeat {
        NewCode = "newCode",
        SameCode = "sameCode",
        Refuse = "refuse",
    }
}

text_enum! {
    /// Event until which `sameCode` returns the same code.
    pub(crate) enum SameCodeUntil {
        Used = "used",
        Expired = "expired",
        Always = "always",
    }
}

/// A time as text. Its value depends on the time zone of the set. Its form is checked earlier, so that the fault is
/// reported together with the others.
#[derive(Debug, PartialEq, Eq)]
struct LocalTime(String);

impl LocalTime {
    fn in_zone(&self, zone: Zone) -> Result<DateTime<Utc>, Error> {
        zone.read_moment(&self.0)
            .map_err(|detail| Error::invalid("/expiresAt", detail))
    }
}

impl FieldValue for LocalTime {
    fn from_value(value: Value) -> Result<Self, String> {
        let text = value.as_str().unwrap_or_default();
        Zone::UTC.read_moment(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// Number of available codes at or below which a set is low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Threshold(i32);

impl FieldValue for Threshold {
    fn from_value(value: Value) -> Result<Self, String> {
        let number = integer(&value, 0, i64::from(i32::MAX))?;
        Ok(Self(i32::try_from(number).expect("the range was checked")))
    }
}

/// Policies in a request. Absent ones keep their values, or the defaults in a new set.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::option_option,
    reason = "a patch distinguishes absent, null and a value"
)]
pub(super) struct Policies {
    on_repeat: Option<OnRepeat>,
    same_code_until: Option<SameCodeUntil>,
    timezone: Option<Zone>,
    unique_in_tenant: Option<bool>,
    ignore_case: Option<bool>,
    assignments_per_contact: Option<Option<Count<1_000_000>>>,
    expires_at: Option<Option<LocalTime>>,
    valid_for_days: Option<Option<Count<3650>>>,
    low_stock_threshold: Option<Option<Threshold>>,
}

impl Policies {
    pub(super) fn of_new(fields: &mut Fields) -> Self {
        Self {
            on_repeat: fields.optional("onRepeat"),
            same_code_until: fields.optional("sameCodeUntil"),
            timezone: fields.optional("timezone"),
            unique_in_tenant: fields.optional("uniqueInTenant"),
            ignore_case: fields.optional("ignoreCase"),
            ..Self::nullable(fields)
        }
    }

    pub(super) fn of_patch(fields: &mut Fields) -> Self {
        Self {
            on_repeat: super::present(fields, "onRepeat"),
            same_code_until: super::present(fields, "sameCodeUntil"),
            timezone: super::present(fields, "timezone"),
            unique_in_tenant: super::present(fields, "uniqueInTenant"),
            ignore_case: super::present(fields, "ignoreCase"),
            ..Self::nullable(fields)
        }
    }

    fn nullable(fields: &mut Fields) -> Self {
        Self {
            assignments_per_contact: fields.nullable("assignmentsPerContact"),
            expires_at: fields.nullable("expiresAt"),
            valid_for_days: fields.nullable("validForDays"),
            low_stock_threshold: fields.nullable("lowStockThreshold"),
            ..Self::default()
        }
    }

    /// Returns true if the request has `ignoreCase`. The caller of `write` must then hold the lock of imports too.
    pub(super) fn changes_ignore_case(&self) -> bool {
        self.ignore_case.is_some()
    }

    /// Changes the policies of a set whose lock the caller holds. `set` is its current state.
    pub(super) async fn write(
        self,
        connection: &mut PgConnection,
        tenant: TenantId,
        set_no: i32,
        mut set: CouponSet,
    ) -> Result<(), Error> {
        if self == Self::default() {
            return Ok(());
        }
        if let Some(zone) = self.timezone
            && !db::supports_zone(connection, zone).await?
        {
            let detail = "The database does not support this time zone.";
            return Err(Error::invalid("/timezone", detail));
        }
        if set.kind == Type::Single {
            for (pointer, field) in [
                ("/uniqueInTenant", self.unique_in_tenant),
                ("/ignoreCase", self.ignore_case),
            ] {
                if field.is_some() {
                    return Err(Error::invalid(pointer, ONLY_MULTIPLE));
                }
            }
        }
        // Existing codes were compared by the other rule.
        if self
            .ignore_case
            .is_some_and(|ignore| ignore != set.ignore_case)
            && !db::is_empty(connection, tenant, set_no).await?
        {
            let detail = "`ignoreCase` can be changed only while the set has no codes and no import into it is in progress.";
            return Err(Error::refused(&WRONG_STATE, detail));
        }
        self.apply(&mut set)?;
        db::set_policies(connection, tenant, set_no, &set).await?;
        Ok(())
    }

    fn apply(self, set: &mut CouponSet) -> Result<(), Error> {
        if let Some(on_repeat) = self.on_repeat {
            set.on_repeat = on_repeat;
        }
        if let Some(until) = self.same_code_until {
            set.same_code_until = until;
        }
        if let Some(zone) = self.timezone {
            zone.name().clone_into(&mut set.timezone);
        }
        if let Some(unique) = self.unique_in_tenant {
            set.unique_in_tenant = unique;
        }
        if let Some(ignore) = self.ignore_case {
            set.ignore_case = ignore;
        }
        if let Some(count) = self.assignments_per_contact {
            set.assignments_per_contact = count.map(|count| count.0);
        }
        if let Some(days) = self.valid_for_days {
            set.valid_for_days = days.map(|days| days.0);
        }
        if let Some(threshold) = self.low_stock_threshold {
            set.low_stock_threshold = threshold.map(|threshold| threshold.0);
        }
        // A date is in the time zone that the same request sets.
        match self.expires_at {
            None => {}
            Some(None) => set.expires_at = None,
            Some(Some(time)) => {
                let zone = Zone::parse(&set.timezone).ok_or_else(|| {
                    Error::Internal(format!("the time zone {} no longer exists", set.timezone))
                })?;
                set.expires_at = Some(time.in_zone(zone)?);
            }
        }
        Ok(())
    }
}
