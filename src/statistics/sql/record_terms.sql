-- Records the quantity and the end of a set whenever they change, at a time not before the last entry of its ledger. The
-- insert or update of the set holds its lock.
create or replace function record_terms()
returns trigger
language plpgsql
as $$
begin
  insert into coupon_set_terms (tenant_id, set_no, since, quantity, expires_at)
  select new.tenant_id, new.set_no, greatest(clock_timestamp(), t.at), new.quantity, new.expires_at
    from ledger_tail(new.tenant_id, new.set_no) t
  on conflict (tenant_id, set_no, since) do update
     set quantity = excluded.quantity, expires_at = excluded.expires_at;
  return null;
end $$;

create or replace trigger record_first_terms
  after insert on coupon_sets
  for each row
  when (current_setting('couponry.copies_tenant', true) is distinct from 'on')
  execute function record_terms();

create or replace trigger record_terms
  after update on coupon_sets
  for each row
  when ((old.quantity, old.expires_at) is distinct from (new.quantity, new.expires_at))
  execute function record_terms();
