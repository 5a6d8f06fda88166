//! Internal row numbers of tenants, coupon sets and assignments.

/// The internal number of a tenant.
///
/// A value is a proof of authorization: the type has no public constructor and no `Deserialize`. Values are only read from
/// the database, through a verified API key or a job that the tenant queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct TenantId(i32);

impl TenantId {
    /// The number, for records outside the database.
    pub(crate) fn number(self) -> i32 {
        self.0
    }
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
impl TenantId {
    /// Returns a tenant that exists in no database.
    pub(crate) fn made_up(number: i32) -> Self {
        Self(number)
    }
}

/// The key of a coupon set. `set_no` is the number that the public ids of its assignments contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SetKey {
    pub tenant: TenantId,
    pub set_no: i32,
}

/// The key of an assignment within its tenant: the set that served it, and its number in the ledger of that set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AssignmentKey {
    pub set_no: i32,
    pub number: i64,
}
