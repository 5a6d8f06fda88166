//! Withdraws the codes that were assigned after a backup, when the backup has been restored.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::db::{self, WithdrawalOutcome};
use crate::coupon_sets;
use crate::database::Database;
use crate::ids::TenantId;
use crate::witness::{Record, Records, WitnessedSet};

/// Codes that are withdrawn in one transaction.
const PORTION: usize = 5_000;
/// The reason in the ledger.
const REASON: &str = "assigned after the backup that was restored";

/// The codes of a set that were assigned after the backup.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BurnedSet {
    pub tenant_id: Uuid,
    pub coupon_set_id: Uuid,
    pub withdrawn: usize,
    /// Imports of which codes were assigned, but which the backup does not contain.
    pub missing_imports: usize,
}

/// Withdraws the codes that were assigned according to the records, and of which the database does not know it. Returns the
/// sets with such codes. A `dry_run` changes nothing.
pub(crate) async fn burn(
    database: &Database,
    records: &Records,
    dry_run: bool,
) -> sqlx::Result<Vec<BurnedSet>> {
    let numbers: Vec<i32> = records.sets.keys().map(|(tenant, _)| *tenant).collect();
    let tenants = database
        .with_system(async |connection| db::find_tenants(connection, &numbers).await)
        .await?;
    let tenants: BTreeMap<i32, db::NumberedTenant> = tenants
        .into_iter()
        .map(|tenant| (tenant.number.number(), tenant))
        .collect();
    let mut burned = Vec::new();
    for ((tenant, set), witnessed) in &records.sets {
        let Some(tenant) = tenants.get(tenant) else {
            continue;
        };
        let burning = Burning {
            database,
            tenant: tenant.number,
            set: *set,
            dry_run,
        };
        let (withdrawn, missing_imports) = burning.run(witnessed).await?;
        if withdrawn > 0 || missing_imports > 0 {
            burned.push(BurnedSet {
                tenant_id: tenant.id,
                coupon_set_id: *set,
                withdrawn,
                missing_imports,
            });
        }
    }
    Ok(burned)
}

struct Burning<'a> {
    database: &'a Database,
    tenant: TenantId,
    set: Uuid,
    dry_run: bool,
}

impl Burning<'_> {
    /// Returns the numbers of withdrawn codes and of missing imports.
    async fn run(&self, witnessed: &WitnessedSet) -> sqlx::Result<(usize, usize)> {
        let (mut withdrawn, mut missing) = (0, 0);
        let find = async |connection: &mut _| {
            coupon_sets::find_no(connection, self.tenant, self.set).await
        };
        let Some(set_no) = self.database.with_tenant(self.tenant, find).await? else {
            return Ok((0, 0));
        };
        for (import, records) in &witnessed.imports {
            let mut last = None;
            for record in records {
                let find = async |connection: &mut _| {
                    let Record { ordinal, code, .. } = record;
                    db::find_lot(connection, self.tenant, set_no, *import, *ordinal, code).await
                };
                if let Some(lot_no) = self.database.with_tenant(self.tenant, find).await? {
                    last = Some(db::LotRange {
                        set_no,
                        lot_no,
                        after: 0,
                        last: record.ordinal,
                    });
                    break;
                }
            }
            match last {
                Some(lot) => withdrawn += self.withdraw_lot(lot).await?,
                None => missing += 1,
            }
        }
        let returned: Vec<_> = witnessed.returned.iter().collect();
        for portion in returned.chunks(PORTION) {
            let (codes, ats): (Vec<_>, Vec<_>) = portion
                .iter()
                .map(|(code, at)| ((*code).clone(), **at))
                .unzip();
            let mut transaction = self.database.background(self.tenant).await?;
            let codes =
                db::release_superseded(&mut transaction, self.tenant, set_no, &codes, &ats, REASON)
                    .await?;
            withdrawn += self.withdraw(transaction, set_no, &codes).await?;
        }
        Ok((withdrawn, missing))
    }

    async fn withdraw_lot(&self, mut lot: db::LotRange) -> sqlx::Result<usize> {
        let mut withdrawn = 0;
        loop {
            let mut transaction = self.database.background(self.tenant).await?;
            let limit = i64::try_from(PORTION).unwrap_or(i64::MAX);
            let cards = db::list_unassigned(&mut transaction, self.tenant, &lot, limit).await?;
            let Some(last) = cards.last() else {
                return Ok(withdrawn);
            };
            lot.after = last.ordinal;
            let codes: Vec<String> = cards.into_iter().map(|card| card.code).collect();
            withdrawn += self.withdraw(transaction, lot.set_no, &codes).await?;
        }
    }

    /// Withdraws codes that no contact holds, and ends the transaction.
    async fn withdraw(
        &self,
        mut transaction: sqlx::Transaction<'static, sqlx::Postgres>,
        set_no: i32,
        codes: &[String],
    ) -> sqlx::Result<usize> {
        let outcomes = db::withdraw(
            &mut transaction,
            self.tenant,
            set_no,
            codes,
            None,
            Some(REASON),
        )
        .await?;
        if self.dry_run {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
        let withdrawn = outcomes
            .iter()
            .filter(|withdrawal| withdrawal.outcome == WithdrawalOutcome::Withdrawn);
        Ok(withdrawn.count())
    }
}
