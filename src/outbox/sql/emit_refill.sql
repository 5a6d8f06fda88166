-- Emits `coupon-set.refilled` when the quantity of a `single` set is raised. The update holds the lock of the set.
create or replace function emit_refill()
returns trigger
language plpgsql
as $$
begin
  insert into webhook_events (tenant_id, set_no, number, event_type, payload)
  select s.tenant_id, s.set_no, s.number, 'coupon-set.refilled',
         jsonb_build_object(
           'couponSetId', s.id,
           'importId', null,
           'added', new.quantity - old.quantity,
           'available', s.available)
    from coupon_set_stocks s
   where s.tenant_id = new.tenant_id and s.set_no = new.set_no
     and exists (
           select 1
             from webhooks w
            where w.tenant_id = new.tenant_id and w.state = 'enabled');
  return null;
end $$;

create or replace trigger emit_refill
  after update of quantity on coupon_sets
  for each row
  when (new.quantity > old.quantity or new.quantity is null and old.quantity is not null)
  execute function emit_refill();
