//! Records assigned codes in the witness.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::batcher::RequestedSet;
use super::db::BatchRow;
use super::plain::{PlainLot, PlainRow};
use crate::batching::{BatchConnection, DatabaseCall};
use crate::ids::{AssignmentKey, TenantId};
use crate::witness::Witness;

/// Maximum number of lots of which the import is remembered.
const MAX_LOTS: usize = 100_000;

/// Records the codes of batches, if there is a witness.
pub(super) struct Recorder {
    witness: Witness,
    /// The imports of lots from which plain requests were served.
    imports: Mutex<HashMap<PlainLot, Uuid>>,
}

impl Recorder {
    pub(super) fn new(witness: &Witness) -> Self {
        Self {
            witness: witness.clone(),
            imports: Mutex::default(),
        }
    }

    fn imports(&self) -> MutexGuard<'_, HashMap<PlainLot, Uuid>> {
        self.imports.lock().expect("no holder of this lock panics")
    }

    /// Records the codes of plain requests, which are those of imports. The first code of a lot costs a round trip, in which the
    /// imports of all such lots of the batch are found. Returns `None` if this failed: then the requests must be sent again.
    pub(super) async fn record_plain(
        &self,
        connection: &mut BatchConnection,
        rows: &[(RequestedSet, &PlainRow)],
        deadline: Instant,
    ) -> Option<()> {
        if !self.witness.is_enabled() {
            return Some(());
        }
        let mut imports = self.known_imports(rows);
        let mut unknown: HashMap<PlainLot, &PlainRow> = HashMap::new();
        for (set, row) in rows {
            let lot = row.lot(set.tenant);
            if !imports.contains_key(&lot) {
                unknown.insert(lot, row);
            }
        }
        let (lots, rows_of_lots): (Vec<_>, Vec<_>) = unknown.into_iter().unzip();
        if !lots.is_empty() {
            let mut call = CardsCall::default();
            for (lot, row) in lots.iter().zip(rows_of_lots) {
                call.add(lot.set.tenant, row.key());
            }
            let cards = connection.call_once(&call, deadline).await?;
            let found = cards
                .iter()
                .filter_map(|card| Some((lots[card.index()], card.import_id?)));
            let found: Vec<(PlainLot, Uuid)> = found.collect();
            self.remember(&found);
            imports.extend(found);
        }
        self.witness.record(
            rows.iter().filter_map(|(set, row)| {
                Some(row.record(*set, *imports.get(&row.lot(set.tenant))?))
            }),
        );
        Some(())
    }

    /// Returns those of the imports of these rows that are remembered.
    fn known_imports(&self, rows: &[(RequestedSet, &PlainRow)]) -> HashMap<PlainLot, Uuid> {
        let imports = self.imports();
        let lots = rows.iter().map(|(set, row)| row.lot(set.tenant));
        lots.filter_map(|lot| Some((lot, *imports.get(&lot)?)))
            .collect()
    }

    fn remember(&self, found: &[(PlainLot, Uuid)]) {
        let mut imports = self.imports();
        if imports.len() >= MAX_LOTS {
            imports.clear();
        }
        imports.extend(found.iter().copied());
    }

    /// Records the codes of the rows, with another round trip. Those of earlier assignments are recorded too: the replica that
    /// made one may have ended before it could record it.
    pub(super) async fn record(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
        rows: &[BatchRow],
    ) -> sqlx::Result<()> {
        if !self.witness.is_enabled() {
            return Ok(());
        }
        let coded = rows.iter().filter(|row| row.has_code());
        let (coded, keys): (Vec<_>, Vec<_>) =
            coded.filter_map(|row| Some((row, row.key()?))).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        let mut call = CardsCall::default();
        for key in keys {
            call.add(tenant, key);
        }
        let cards = call.call(connection).await?;
        self.witness.record(cards.iter().filter_map(|card| {
            let row = coded[card.index()];
            row.record(tenant, card.import_id, card.ordinal)
        }));
        Ok(())
    }
}

/// A call of `assigned_cards`.
#[derive(Default)]
struct CardsCall {
    tenants: Vec<TenantId>,
    set_nos: Vec<i32>,
    numbers: Vec<i64>,
}

impl CardsCall {
    fn add(&mut self, tenant: TenantId, key: AssignmentKey) {
        self.tenants.push(tenant);
        self.set_nos.push(key.set_no);
        self.numbers.push(key.number);
    }
}

/// The card of an assignment.
struct CardRow {
    item: i32,
    /// `None` if the code had come back to its set.
    import_id: Option<Uuid>,
    ordinal: i32,
}

impl CardRow {
    /// Returns the index of the assignment in the call.
    fn index(&self) -> usize {
        usize::try_from(self.item - 1).expect("items count from 1")
    }
}

impl DatabaseCall for CardsCall {
    const NAME: &'static str = "a lookup of assigned cards";
    type Row = CardRow;

    fn size(&self) -> usize {
        self.numbers.len()
    }

    async fn call(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<CardRow>> {
        sqlx::query_as!(
            CardRow,
            r#"select item as "item!", import_id, ordinal as "ordinal!"
                 from assigned_cards($1, $2, $3)"#,
            &self.tenants as &[TenantId],
            &self.set_nos,
            &self.numbers
        )
        .fetch_all(connection)
        .await
    }
}
