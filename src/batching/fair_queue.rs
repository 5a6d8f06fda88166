//! Requests that wait for a batch, by tenant and key.
//!
//! Tenants take turns, and so do the keys of a tenant, so that one hot key gets only what the others leave. Turns are counted
//! in items: while a request of 100 items is in a batch, up to 100 small ones of another tenant come before the next of it. A
//! key is in at most one batch at a time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::ids::TenantId;

/// A request as the queue sees it.
pub(super) trait Queued {
    /// Returns the number of its items.
    fn size(&self) -> usize;
    /// Returns true if it may be in a batch of several keys.
    fn is_shared(&self) -> bool;
    /// Returns true if it may be in the same batch of a single key as `first`.
    fn joins(&self, first: &Self) -> bool;
}

/// Requests of one key, taken from the queue to form a batch or a part of one.
pub(super) struct Portion<K, R> {
    pub tenant: TenantId,
    pub key: K,
    pub requests: Vec<R>,
}

/// The waiting requests of one key.
struct KeyQueue<R> {
    tenant: TenantId,
    requests: VecDeque<R>,
}

/// The result of [`FairQueue::take_shared`].
pub(super) enum NextShared<K, R> {
    Batch(Vec<Portion<K, R>>),
    /// Fewer keys wait than are worth a batch beside the one that is in progress.
    TooFew,
    Nothing,
}

/// Keys that wait for their turn.
struct Turns<K> {
    tenants: VecDeque<TenantId>,
    keys: HashMap<TenantId, VecDeque<K>>,
    /// Number of keys of all tenants.
    count: usize,
}

impl<K: Copy> Turns<K> {
    fn new() -> Self {
        Self {
            tenants: VecDeque::new(),
            keys: HashMap::new(),
            count: 0,
        }
    }

    fn push(&mut self, tenant: TenantId, key: K) {
        let keys = self.keys.entry(tenant).or_default();
        if keys.is_empty() {
            self.tenants.push_back(tenant);
        }
        keys.push_back(key);
        self.count += 1;
    }

    /// Takes a key of the tenant that has the fewest items already, the first in line of those with as many. `items` returns
    /// `None` for tenants to skip.
    fn pop(&mut self, items: impl Fn(TenantId) -> Option<usize>) -> Option<K> {
        let mut fewest: Option<(usize, usize)> = None;
        for (place, tenant) in self.tenants.iter().enumerate() {
            let Some(items) = items(*tenant) else {
                continue;
            };
            if fewest.is_none_or(|(fewest, _)| items < fewest) {
                fewest = Some((items, place));
            }
            // Those that have none stand first, so the line is searched only when few tenants wait.
            if items == 0 {
                break;
            }
        }
        let (_, place) = fewest?;
        let tenant = self.tenants.remove(place)?;
        let keys = self.keys.get_mut(&tenant)?;
        let key = keys.pop_front();
        self.count -= 1;
        if keys.is_empty() {
            self.keys.remove(&tenant);
        } else {
            self.tenants.push_back(tenant);
        }
        key
    }
}

pub(super) struct FairQueue<K, R> {
    /// The keys with waiting requests and those in a batch.
    queues: HashMap<K, KeyQueue<R>>,
    /// Keys whose first request is shared.
    shared: Turns<K>,
    /// Keys whose first request must be in a batch of its own key.
    single: Turns<K>,
    /// Number of shared batches in progress.
    shared_batches: usize,
    /// Number of batches of a single key in progress, by tenant.
    singles: HashMap<TenantId, usize>,
}

impl<K: Copy + Eq + Hash, R: Queued> FairQueue<K, R> {
    pub(super) fn new() -> Self {
        Self {
            queues: HashMap::new(),
            shared: Turns::new(),
            single: Turns::new(),
            shared_batches: 0,
            singles: HashMap::new(),
        }
    }

    /// Returns true if nothing waits and no batch is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Returns whether the request can be in a shared batch, if it is the first that waits for its key.
    pub(super) fn push(&mut self, tenant: TenantId, key: K, request: R) -> Option<bool> {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.requests.push_back(request);
            return None;
        }
        let requests = VecDeque::from([request]);
        self.queues.insert(key, KeyQueue { tenant, requests });
        self.schedule(key)
    }

    /// Takes shared requests of up to `max_keys` keys, up to `max_items` items unless the first request has more. Beside a
    /// shared batch in progress, fewer than `min_keys` are not taken.
    pub(super) fn take_shared(
        &mut self,
        min_keys: usize,
        max_keys: usize,
        max_items: usize,
    ) -> NextShared<K, R> {
        if self.shared.count == 0 {
            return NextShared::Nothing;
        }
        if self.shared_batches > 0 && self.shared.count < min_keys {
            return NextShared::TooFew;
        }
        self.shared_batches += 1;
        let mut portions: Vec<Portion<K, R>> = Vec::new();
        let mut items = 0;
        let mut of_tenants: HashMap<TenantId, usize> = HashMap::new();
        while portions.len() < max_keys && items < max_items {
            let of_tenant = |tenant| of_tenants.get(&tenant).copied().unwrap_or(0);
            let Some(key) = self.shared.pop(|tenant| Some(of_tenant(tenant))) else {
                break;
            };
            let queue = self
                .queues
                .get_mut(&key)
                .expect("a waiting key has a queue");
            let requests = Vec::from_iter(queue.requests.pop_front());
            let size = requests.iter().map(R::size).sum::<usize>();
            items += size;
            *of_tenants.entry(queue.tenant).or_default() += size;
            portions.push(Portion {
                tenant: queue.tenant,
                key,
                requests,
            });
        }
        // What room is left is shared among the keys that have more.
        let mut took = true;
        while took && items < max_items {
            took = false;
            for portion in &mut portions {
                let queue = self.queues.get_mut(&portion.key);
                let requests = &mut queue.expect("a key in a batch has a queue").requests;
                if items < max_items
                    && let Some(request) = requests.pop_front_if(|request| request.is_shared())
                {
                    items += request.size();
                    portion.requests.push(request);
                    took = true;
                }
            }
        }
        NextShared::Batch(portions)
    }

    /// Takes requests of one key that cannot be shared, up to `max_items` items unless the first request has more. Skips
    /// tenants that have `max_batches` such batches in progress.
    pub(super) fn take_single(
        &mut self,
        max_items: usize,
        max_batches: usize,
    ) -> Option<Portion<K, R>> {
        let singles = &self.singles;
        let batches = |tenant| singles.get(&tenant).copied().unwrap_or(0);
        let key = self
            .single
            .pop(|tenant| (batches(tenant) < max_batches).then_some(0))?;
        let KeyQueue { tenant, requests } = self.queues.get_mut(&key)?;
        let tenant = *tenant;
        let first = requests.pop_front()?;
        let mut items = first.size();
        let mut taken = vec![first];
        while items < max_items
            && let Some(next) = requests.pop_front_if(|next| next.joins(&taken[0]))
        {
            items += next.size();
            taken.push(next);
        }
        *self.singles.entry(tenant).or_default() += 1;
        Some(Portion {
            tenant,
            key,
            requests: taken,
        })
    }

    /// Ends a shared batch, after the parts of its keys.
    pub(super) fn finish_shared(&mut self) {
        self.shared_batches -= 1;
    }

    /// Ends the part of a shared batch that the key had. `rest` are requests that it did not serve; they come first in the
    /// next. Returns whether the next batch is a shared one, if there is more to do.
    pub(super) fn finish_part(&mut self, key: K, rest: Vec<R>) -> Option<bool> {
        if let Some(queue) = self.queues.get_mut(&key) {
            for request in rest.into_iter().rev() {
                queue.requests.push_front(request);
            }
        }
        self.schedule(key)
    }

    /// Ends a batch of a single key. Returns whether the next one is a shared one, if there is more to do.
    pub(super) fn finish_single(&mut self, tenant: TenantId, key: K) -> Option<bool> {
        if let Some(count) = self.singles.get_mut(&tenant) {
            *count -= 1;
            if *count == 0 {
                self.singles.remove(&tenant);
            }
        }
        self.schedule(key)
    }

    /// Puts a key in line, or forgets it if it has no requests. Returns whether its first request is shared.
    fn schedule(&mut self, key: K) -> Option<bool> {
        let queue = self.queues.get(&key)?;
        let Some(first) = queue.requests.front() else {
            self.queues.remove(&key);
            return None;
        };
        let is_shared = first.is_shared();
        let turns = if is_shared {
            &mut self.shared
        } else {
            &mut self.single
        };
        turns.push(queue.tenant, key);
        Some(is_shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with its number.
    #[derive(Debug, PartialEq)]
    struct Request {
        number: u32,
        items: usize,
        is_shared: bool,
    }

    impl Queued for Request {
        fn size(&self) -> usize {
            self.items
        }

        fn is_shared(&self) -> bool {
            self.is_shared
        }

        fn joins(&self, _: &Self) -> bool {
            true
        }
    }

    fn shared(number: u32) -> Request {
        Request {
            number,
            items: 1,
            is_shared: true,
        }
    }

    fn single(number: u32) -> Request {
        Request {
            number,
            items: 1,
            is_shared: false,
        }
    }

    /// Pushes a request of a key, which is a tenant and a letter.
    fn push(queue: &mut FairQueue<(i32, char), Request>, key: (i32, char), request: Request) {
        queue.push(TenantId::made_up(key.0), key, request);
    }

    /// Takes a batch, an empty one if there is nothing.
    fn take(
        queue: &mut FairQueue<(i32, char), Request>,
        max_keys: usize,
        max_items: usize,
    ) -> Vec<Portion<(i32, char), Request>> {
        match queue.take_shared(1, max_keys, max_items) {
            NextShared::Batch(batch) => batch,
            NextShared::TooFew => panic!("one key is always enough"),
            NextShared::Nothing => Vec::new(),
        }
    }

    /// The keys of a batch, and how many requests each has.
    fn sizes(batch: &[Portion<(i32, char), Request>]) -> Vec<((i32, char), usize)> {
        batch
            .iter()
            .map(|portion| (portion.key, portion.requests.len()))
            .collect()
    }

    #[test]
    fn tenants_take_turns_and_so_do_their_keys() {
        let mut queue = FairQueue::new();
        for key in [(1, 'a'), (1, 'b'), (1, 'c'), (2, 'd'), (3, 'e')] {
            push(&mut queue, key, shared(0));
        }
        let batch = take(&mut queue, 4, 100);
        assert_eq!(
            sizes(&batch),
            [((1, 'a'), 1), ((2, 'd'), 1), ((3, 'e'), 1), ((1, 'b'), 1)]
        );
    }

    #[test]
    fn a_tenant_with_small_requests_waits_for_one_of_many_items_not_for_one_each_time() {
        let mut queue = FairQueue::new();
        for key in ['a', 'b', 'c'] {
            let items = 100;
            push(&mut queue, (1, key), Request { items, ..shared(0) });
        }
        for key in ['v', 'w', 'x', 'y'] {
            push(&mut queue, (2, key), shared(0));
        }
        let keys = |batch: Vec<Portion<(i32, char), Request>>| {
            batch.into_iter().map(|part| part.key.1).collect::<String>()
        };
        assert_eq!(keys(take(&mut queue, 128, 150)), "avwxyb");
        assert_eq!(keys(take(&mut queue, 128, 150)), "c");
    }

    #[test]
    fn a_second_batch_starts_when_enough_keys_wait_or_the_first_has_ended() {
        let mut queue = FairQueue::new();
        push(&mut queue, (1, 'a'), shared(0));
        let NextShared::Batch(first) = queue.take_shared(3, 8, 100) else {
            panic!("an idle lane takes what there is");
        };
        assert!(matches!(queue.take_shared(3, 8, 100), NextShared::Nothing));
        for key in [(1, 'b'), (2, 'c')] {
            push(&mut queue, key, shared(0));
        }
        assert!(matches!(queue.take_shared(3, 8, 100), NextShared::TooFew));
        push(&mut queue, (3, 'd'), shared(0));
        let NextShared::Batch(second) = queue.take_shared(3, 8, 100) else {
            panic!("three keys are enough");
        };
        push(&mut queue, (3, 'e'), shared(0));
        for portion in first.iter().chain(&second) {
            queue.finish_part(portion.key, Vec::new());
        }
        queue.finish_shared();
        assert!(matches!(queue.take_shared(3, 8, 100), NextShared::TooFew));
        queue.finish_shared();
        assert!(matches!(queue.take_shared(3, 8, 100), NextShared::Batch(_)));
    }

    #[test]
    fn a_hot_key_gets_what_the_others_leave() {
        let mut queue = FairQueue::new();
        for number in 0..100 {
            push(&mut queue, (1, 'h'), shared(number));
        }
        push(&mut queue, (1, 'c'), shared(0));
        push(&mut queue, (2, 'd'), shared(0));
        let batch = take(&mut queue, 8, 10);
        assert_eq!(sizes(&batch), [((1, 'h'), 8), ((2, 'd'), 1), ((1, 'c'), 1)]);
        let numbers: Vec<u32> = batch[0]
            .requests
            .iter()
            .map(|request| request.number)
            .collect();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_is_in_one_batch_at_a_time() {
        let mut queue = FairQueue::new();
        push(&mut queue, (1, 'a'), shared(0));
        assert_eq!(take(&mut queue, 8, 8).len(), 1);
        push(&mut queue, (1, 'a'), shared(1));
        push(&mut queue, (1, 'a'), single(2));
        assert!(take(&mut queue, 8, 8).is_empty());
        assert!(queue.take_single(8, 8).is_none());
        queue.finish_part((1, 'a'), Vec::new());
        assert_eq!(take(&mut queue, 8, 8)[0].requests, [shared(1)]);
        queue.finish_part((1, 'a'), Vec::new());
        let alone = queue.take_single(8, 8).unwrap();
        assert_eq!(alone.requests, [single(2)]);
        assert!(!queue.is_empty());
        queue.finish_single(alone.tenant, alone.key);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_a_shared_batch_leaves_comes_first_in_a_batch_of_its_key() {
        let mut queue = FairQueue::new();
        for number in 0..3 {
            push(&mut queue, (1, 'a'), shared(number));
        }
        take(&mut queue, 8, 2);
        queue.finish_part((1, 'a'), vec![single(0), single(1)]);
        let alone = queue.take_single(8, 8).unwrap();
        assert_eq!(alone.requests, [single(0), single(1), shared(2)]);
    }

    #[test]
    fn a_tenant_has_only_some_of_the_batches_of_one_key() {
        let mut queue = FairQueue::new();
        for key in [(1, 'a'), (1, 'b'), (1, 'c'), (2, 'd')] {
            push(&mut queue, key, single(0));
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.take_single(8, 2)).collect();
        let keys: Vec<_> = taken.iter().map(|portion| portion.key).collect();
        assert_eq!(keys, [(1, 'a'), (2, 'd'), (1, 'b')]);
        queue.finish_single(taken[0].tenant, taken[0].key);
        assert_eq!(queue.take_single(8, 2).unwrap().key, (1, 'c'));
    }
}
