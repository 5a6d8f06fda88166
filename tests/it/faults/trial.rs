//! Steps of a trial: creating the sets, the refills, and reading the service's records.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Row;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::cluster::Cluster;
use super::history::{
    Counters, ENDLESS_CODE, Evidence, LogEntry, Refill, SETS, State, StateChange, code, now,
};
use super::http::{Caller, Request};
use super::random::Random;
use super::workload::{Shared, Shop};
use crate::support::{ledger, sql};

/// Bits of an assignment's id that are its number in the log of its set.
pub const NUMBER_BITS: u128 = (1 << 44) - 1;

/// Creates the sets.
pub async fn open_shop(cluster: &Cluster) -> Shop {
    let operator = cluster.operator().await;
    let opening = tokio::task::spawn_blocking(move || {
        let shop = operator.new_shop();
        let mut ids: Vec<Uuid> = Vec::new();
        for plan in &SETS {
            let mut set = json!({
                "name": plan.name,
                "type": if plan.is_deck { "multiple" } else { "single" },
                "onRepeat": plan.on_repeat.as_str(),
                "childCouponSetId": plan.child.map(|child| ids[child]),
            });
            if !plan.is_deck {
                set["code"] = json!(ENDLESS_CODE);
            }
            let path = shop.new_set(&set);
            let id = path.rsplit('/').next().expect("a path ends");
            ids.push(id.parse().expect("an id"));
        }
        Shop {
            bearer: shop.bearer().into(),
            ids: ids.try_into().expect("one of each"),
        }
    });
    opening.await.expect("the shop opens")
}

/// Files that a refiller has imported.
#[derive(Debug)]
pub struct ImportedCodes {
    pub set: usize,
    pub delivered: u64,
    pub refills: Vec<Refill>,
}

/// Imports codes into a deck repeatedly, but lets it run dry at times.
pub async fn refill(
    shared: Arc<Shared>,
    mut random: Random,
    set: usize,
    import_size: u64,
) -> ImportedCodes {
    let mut caller = Caller::new(&shared.addresses, &shared.shop.bearer);
    let mut delivery = ImportedCodes {
        set,
        delivered: 0,
        refills: Vec::new(),
    };
    while !shared.is_over() {
        let body = caller.read(&mut random, &shared.shop.path(set)).await;
        let available = body["available"].as_u64().expect("a count");
        if available <= import_size / 4 {
            let size = 1 + random.below(import_size);
            let codes = delivery.delivered..delivery.delivered + size;
            let codes: Vec<String> = codes.map(|number| code(set, number)).collect();
            delivery.delivered += size;
            let codes = import(&shared, &mut caller, &mut random, set, &codes).await;
            let known = now();
            delivery.refills.push(Refill { set, codes, known });
        }
        tokio::time::sleep(random.millis((50, 1000))).await;
    }
    delivery
}

/// Imports codes and waits until they are available. An upload with an unknown outcome is sent again; the service
/// recognizes the file if the first one arrived.
async fn import(
    shared: &Shared,
    caller: &mut Caller,
    random: &mut Random,
    set: usize,
    codes: &[String],
) -> u64 {
    let path = format!("{}/imports", shared.shop.path(set));
    let body = json!({"codes": codes}).to_string();
    let import = caller
        .send_with_retries(random, Request::post(&path, &body))
        .await;
    // 200: the first one had arrived.
    assert!(matches!(import.status, 200 | 201), "{}", import.body);
    let id = import.body["id"].as_str().expect("an id").to_owned();
    loop {
        let import = caller.read(random, &format!("/v1/imports/{id}")).await;
        match import["status"].as_str() {
            Some("finished") => return import["success"].as_u64().expect("a count"),
            Some("queued" | "inProgress") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => panic!("an import ended badly: {import}"),
        }
    }
}

/// Reads the service's records: through its API, and by SQL where the API does not show them.
pub async fn read_record(
    shared: &Arc<Shared>,
    cluster: &Arc<Cluster>,
    random: &Random,
    evidence: &mut Evidence,
) {
    let mut reading = JoinSet::new();
    for set in 0..SETS.len() {
        let (shared, cluster) = (Arc::clone(shared), Arc::clone(cluster));
        let random = random.fork(set as u64);
        reading.spawn(async move { read_set(&shared, &cluster, random, set).await });
    }
    while let Some(of_set) = reading.join_next().await {
        let mut of_set = of_set.expect("a set can be read");
        evidence.log.append(&mut of_set.log);
        evidence.unlisted.append(&mut of_set.unlisted);
        evidence.changes.append(&mut of_set.changes);
        evidence.reservations.extend(of_set.reservations);
        for set in 0..SETS.len() {
            evidence.imported[set] += of_set.imported[set];
            if of_set.counters[set] != Counters::default() {
                evidence.counters[set] = of_set.counters[set];
            }
        }
    }
    let mut connection = cluster.sql().await;
    let query = "select r.id, n.key_hash, s.id, n.number
           from assignment_answers n
           join coupon_sets r on r.tenant_id = n.tenant_id and r.set_no = n.requested_set_no
           join coupon_sets s on s.tenant_id = n.tenant_id and s.set_no = n.set_no";
    let set_of = |id: Uuid| shared.shop.ids.iter().position(|known| *known == id);
    for row in sql::rows(&mut connection, query).await {
        let requested = set_of(row.get(0)).expect("a set of ours");
        let served = set_of(row.get(2)).expect("a set of ours");
        let place = (served, row.get(3));
        evidence.shared.insert((requested, row.get(1)), place);
    }
    for (rule, query) in ledger::rules() {
        let rows = format!("select count(*) from ({query}) r");
        let count: i64 = sql::value(&mut connection, rows).await;
        if count > 0 {
            evidence.broken.push(format!("{count} times: {rule}"));
        }
    }
}

/// Reads the records of one set.
async fn read_set(shared: &Shared, cluster: &Cluster, mut random: Random, set: usize) -> Evidence {
    let mut evidence = Evidence::default();
    let mut caller = Caller::new(&shared.addresses, &shared.shop.bearer);
    let mut connection = cluster.sql().await;
    let id = shared.shop.ids[set];
    let body = caller.read(&mut random, &shared.shop.path(set)).await;
    evidence.counters[set] = Counters {
        quantity: body["quantity"].as_u64(),
        available: body["available"].as_u64(),
        reserved: body["reserved"].as_u64().expect("a count"),
        assigned: body["assigned"].as_u64().expect("a count"),
        void: body["void"].as_u64().expect("a count"),
        expired: body["expired"].as_u64().expect("a count"),
    };
    let path = format!("/v1/imports?couponSetId={id}&limit=1000");
    pages(&mut caller, &mut random, path, |import| {
        assert_eq!(import["status"], "finished", "{import}");
        evidence.imported[set] += import["success"].as_u64().expect("a count");
    })
    .await;
    let mut listed = HashMap::new();
    let path = format!("/v1/assignments?couponSetId={id}&limit=1000");
    pages(&mut caller, &mut random, path, |assignment| {
        let entry = read_entry(&shared.shop, assignment);
        listed.insert(entry.id.as_u128() & NUMBER_BITS, entry);
    })
    .await;
    let query = format!(
        "select a.number, a.lot_no, a.ordinal, a.key_hash
           from assignments a
           join coupon_sets s using (tenant_id, set_no)
          where s.id = '{id}'"
    );
    for row in sql::rows(&mut connection, query).await {
        let number: i64 = row.get(0);
        let Some(listed) = listed.remove(&u128::try_from(number).expect("from 1")) else {
            evidence.unlisted.push((set, number));
            continue;
        };
        evidence.log.push(LogEntry {
            number,
            lot: row.get(1),
            ordinal: row.get(2),
            key_hash: row.get(3),
            ..listed
        });
    }
    // An assignment that only the API lists gets no number, which the checker reports.
    evidence.log.extend(listed.into_values());
    let query = format!(
        "select e.number, e.assignment_number, e.event, e.recorded_at, e.expires_at
           from ledger_entries e
           join coupon_sets s using (tenant_id, set_no)
          where s.id = '{id}'"
    );
    for row in sql::rows(&mut connection, query).await {
        let state = match row.get(2) {
            "confirmed" => Some(State::Assigned),
            event => State::parse(event),
        };
        let at: DateTime<Utc> = row.get(3);
        let until: Option<DateTime<Utc>> = row.get(4);
        evidence.changes.push(StateChange {
            served: set,
            number: row.get(0),
            of: row.get(1),
            state: state.expect("an event of a ledger"),
            at: at.timestamp_micros(),
            until: until.map(|until| until.timestamp_micros()),
        });
    }
    let query = format!(
        "select r.number
           from reservations r
           join coupon_sets s using (tenant_id, set_no)
          where s.id = '{id}'"
    );
    let open: Vec<i64> = sql::column(&mut connection, query).await;
    let open = open.into_iter().map(|number| (set, number));
    evidence.reservations.extend(open);
    evidence
}

/// Converts an assignment of the API.
fn read_entry(shop: &Shop, body: &Value) -> LogEntry {
    let text = |name: &str| body[name].as_str().expect("a text");
    let at: DateTime<Utc> = text("assignedAt").parse().expect("a time");
    LogEntry {
        id: text("id").parse().expect("an id"),
        served: shop.set_of(&body["couponSetId"]).expect("a set of ours"),
        requested: shop
            .set_of(&body["requestedCouponSetId"])
            .expect("a set of ours"),
        contact: text("contactId").into(),
        code: text("couponCode").into(),
        at: at.timestamp_micros(),
        number: 0,
        lot: 0,
        ordinal: 0,
        key_hash: Uuid::nil(),
        state: State::parse(text("state")).expect("a state"),
    }
}

/// Reads all results of a list.
async fn pages(
    caller: &mut Caller,
    random: &mut Random,
    path: String,
    mut read: impl FnMut(&Value),
) {
    let mut next = Some(path);
    while let Some(path) = next {
        let page = caller.read(random, &path).await;
        next = page["links"]["next"].as_str().map(str::to_owned);
        page["results"]
            .as_array()
            .expect("a list")
            .iter()
            .for_each(&mut read);
    }
}
