-- Assignments with their last ledger entry. `valid_until` is the end of the validity of the code.
create or replace view assignment_lives
with (security_invoker = true)
as
select a.tenant_id, a.set_no, a.number, a.requested_set_no, a.lot_no, a.ordinal, a.contact_no, a.contact_seq, a.assigned_at,
       a.workflow_id, a.node_id, a.execution_id, a.key_id,
       last.event as last_event,
       case when last.event = 'reserved' then last.expires_at end as reserved_until,
       case when last.event is null or last.event = 'reserved' then a.expires_at else last.expires_at end as valid_until
  from assignments a
  left join lateral (
    select e.event, e.expires_at
      from ledger_entries e
     where e.tenant_id = a.tenant_id and e.set_no = a.set_no and e.assignment_number = a.number
     order by e.stage desc
     limit 1
  ) last on true;

grant select on assignment_lives to couponry_app;
