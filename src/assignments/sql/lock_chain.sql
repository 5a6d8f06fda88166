-- Locks a set, with `p_chain` also the sets that may serve in its place, and returns it, the numbers of the locked sets in the
-- order in which they serve, and the reason why no item can be served, null if there is none.
--
-- Two clients at once: the second waits for the lock of the set. The lock is a statement of its own, so all statements
-- after it have a snapshot younger than the first client's commit. Lock and insert in one statement would assign the same
-- code twice: under READ COMMITTED a statement keeps the snapshot from before it waited. For the same reason no other
-- isolation level works.
--
-- The sets of a chain are locked in the order of their numbers, the same for every caller, so that no two transactions can
-- deadlock. A chain that was changed before its locks were acquired is `chainChanged`.
--
-- Without `p_chain`, an assignment that a contact holds may have been served by a child whose lock is not held. None can be
-- added, because that takes the lock of the requested set. A concurrent release takes effect either before the batch or
-- after it.
create or replace function lock_chain(
  p_tenant integer, p_requested uuid, p_child uuid, p_chain boolean,
  out requested coupon_sets, out chain integer[], out fault assign_outcome)
language plpgsql
as $$
declare
  v_set_no integer;
  v_chain  integer[];
begin
  if p_chain then
    select s.set_no into v_set_no
      from coupon_sets s
     where s.tenant_id = p_tenant and s.id = p_requested;
    select c.chain into v_chain
      from coupon_set_chain(p_tenant, v_set_no, p_child) c;
    perform 1
       from coupon_sets s
      where s.tenant_id = p_tenant and s.set_no = any (v_chain)
      order by s.set_no
        for no key update;
  end if;
  select s.* into requested
    from coupon_sets s
   where s.tenant_id = p_tenant and s.id = p_requested
     for no key update;

  if requested.set_no is null or requested.deleted_at is not null then
    fault := 'setNotFound';
    return;
  end if;
  if p_chain or p_child is not null then
    select c.chain, c.fault into chain, fault
      from coupon_set_chain(p_tenant, requested.set_no, p_child) c;
  end if;
  if not p_chain then
    chain := array[requested.set_no];
  elsif chain is distinct from v_chain then
    fault := 'chainChanged';
  end if;
end $$;
