-- Phase of erase_portion: waits for the lock of the next set and so for every transaction that writes into its ledger.
create or replace function pass_set_lock(p_at erasures)
returns erasures
language plpgsql
as $$
declare
  v_set integer;
begin
  select s.set_no into v_set
    from coupon_sets s
   where s.tenant_id = p_at.tenant_id and s.set_no > p_at.at_set
   order by s.set_no
   limit 1
     for no key update;
  if found then
    p_at.at_set := v_set;
  else
    p_at.stage := 'own';
  end if;
  return p_at;
end $$;
