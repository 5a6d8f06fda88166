//! SQL of contacts. The database functions that it calls document their behaviour under concurrent calls.

use sqlx::PgConnection;

use super::{Erasure, ErasureState, Merge, MergeOutcome};
use crate::http::error::Error;
use crate::ids::TenantId;

/// Finds the contact that this one was merged into.
pub(super) async fn find_root(
    connection: &mut PgConnection,
    tenant: TenantId,
    contact: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select root.contact_id
           from contacts c
           join contacts root on root.tenant_id = $1 and root.contact_no = c.merged_into
          where c.tenant_id = $1 and c.contact_id = $2 and c.merged_into <> c.contact_no",
        tenant as TenantId,
        contact
    )
    .fetch_optional(connection)
    .await
}

/// Merges a contact into another. On an error the caller must roll the transaction back.
pub(super) async fn merge(
    connection: &mut PgConnection,
    tenant: TenantId,
    contact: String,
    into: &str,
) -> Result<Merge, Error> {
    let row = sqlx::query!(
        r#"select outcome as "outcome!: MergeOutcome", root as "root!"
             from merge_contacts($1, $2, $3)"#,
        tenant as TenantId,
        contact,
        into
    )
    .fetch_one(connection)
    .await?;
    Merge::from_outcome(contact, row.outcome, row.root)
}

/// Replaces the id of a contact by a pseudonym. Repeating it returns the existing erasure.
pub(super) async fn erase(
    connection: &mut PgConnection,
    tenant: TenantId,
    contact: &str,
) -> sqlx::Result<Erasure> {
    let row = sqlx::query!(
        r#"select pseudonym as "pseudonym!", requested_at as "requested_at!", finished_at
             from erase_contact($1, $2)"#,
        tenant as TenantId,
        contact
    )
    .fetch_one(connection)
    .await?;
    Ok(Erasure {
        contact_id: row.pseudonym,
        state: match row.finished_at {
            Some(_) => ErasureState::Erased,
            None => ErasureState::Erasing,
        },
        requested_at: row.requested_at,
        finished_at: row.finished_at,
    })
}

/// Lists the tenants with unfinished erasures.
pub(super) async fn list_erasing_tenants(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<TenantId>> {
    sqlx::query_scalar!(
        r#"select distinct e.tenant_id as "tenant: TenantId"
             from erasures e
            where e.finished_at is null"#
    )
    .fetch_all(connection)
    .await
}

/// Processes one batch of a tenant's erasures. Returns true if there may be more to do, and false also while another
/// replica works on this tenant.
pub(super) async fn erase_batch(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select erase_portion($1) as "more!""#, tenant as TenantId)
        .fetch_one(connection)
        .await
}
