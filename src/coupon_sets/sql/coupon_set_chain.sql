-- Returns the sets that may serve an assignment from `p_set_no`, in order: the set itself, then the child that the request
-- names or else the set's own, then the child of that one and so on, at most five. `fault` is the reason why the chain is
-- not valid, null if it is.
create or replace function coupon_set_chain(p_tenant integer, p_set_no integer, p_child uuid, out chain integer[], out fault text)
language plpgsql
stable
as $$
declare
  v_next integer;
begin
  chain := array[p_set_no];
  if p_child is null then
    select s.child_set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = p_set_no;
  else
    select s.set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.id = p_child and s.deleted_at is null;
    if not found then
      fault := 'childNotFound';
      return;
    end if;
  end if;

  while v_next is not null loop
    if v_next = any (chain) then
      fault := 'childCycle';
      return;
    elsif cardinality(chain) = 5 then
      fault := 'chainTooLong';
      return;
    end if;
    chain := chain || v_next;
    select s.child_set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = chain[cardinality(chain)];
  end loop;
end $$;
