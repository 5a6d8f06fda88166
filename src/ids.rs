//! Numbers that name rows: of tenants, of coupon sets and of assignments.

/// A tenant as the tables know it.
///
/// It is a proof: it has no public constructor and no `Deserialize`. It is only ever read from the database, by a verified
/// key or by a job that a tenant queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct TenantId(i32);

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
impl TenantId {
    /// A tenant that no database has.
    pub(crate) fn made_up(number: i32) -> Self {
        Self(number)
    }
}

/// A coupon set, by the number that the ids of its assignments carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SetKey {
    pub tenant: TenantId,
    pub set_no: i32,
}

/// The key of an assignment's row within its tenant: the set that served, and the number in the set's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AssignmentKey {
    pub set_no: i32,
    pub number: i64,
}
