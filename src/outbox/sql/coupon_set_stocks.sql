-- The stock of each set and the number of its ledger at that moment, in one snapshot. `alert_level`: 1 at the threshold or
-- below, 2 at half of it, 3 at a quarter, 4 at an eighth, 5 if nothing is left, else 0. Null for a set that is deleted or
-- past its own end, whose stock is not evaluated.
create or replace view coupon_set_stocks
with (security_invoker = true)
as
select s.tenant_id, s.set_no, s.id, s.low_stock_threshold as threshold, c.quantity, c.available,
       coalesce(
         greatest(
           (select a.number
              from assignments a
             where a.tenant_id = s.tenant_id and a.set_no = s.set_no
             order by a.number desc
             limit 1),
           (select e.number
              from ledger_entries e
             where e.tenant_id = s.tenant_id and e.set_no = s.set_no
             order by e.number desc
             limit 1)),
         0) as number,
       case
         when s.deleted_at is not null or s.expires_at <= now() then null
         when c.available <= 0 then 5
         when c.available * 8 <= s.low_stock_threshold then 4
         when c.available * 4 <= s.low_stock_threshold then 3
         when c.available * 2 <= s.low_stock_threshold then 2
         when c.available <= s.low_stock_threshold then 1
         else 0
       end::smallint as alert_level
  from coupon_sets s
  join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no;

grant select on coupon_set_stocks to couponry_app;
