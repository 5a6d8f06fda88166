-- The ledger number up to which each set was rolled up, and the last number of its ledger.
create or replace view statistics_tails
with (security_invoker = true)
as
select s.tenant_id, s.set_no, coalesce(p.rolled_up, 0) as rolled_up,
       greatest(
         coalesce((
           select a.number
             from assignments a
            where a.tenant_id = s.tenant_id and a.set_no = s.set_no
            order by a.number desc
            limit 1), 0),
         coalesce((
           select e.number
             from ledger_entries e
            where e.tenant_id = s.tenant_id and e.set_no = s.set_no
            order by e.number desc
            limit 1), 0)) as number
  from coupon_sets s
  left join statistics_progress p on p.tenant_id = s.tenant_id and p.set_no = s.set_no;

grant select on statistics_tails to couponry_app;
