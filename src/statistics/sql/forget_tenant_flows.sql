-- Takes what was rolled up of a set out of the sums of its tenant. The caller holds the lock of the tenant's statistics.
create or replace function forget_tenant_flows(p_tenant integer, p_set_no integer)
returns void
language plpgsql
as $$
begin
  update statistics_tenant_flows f
     set assigned = f.assigned - s.assigned, reserved = f.reserved - s.reserved, released = f.released - s.released,
         void = f.void - s.void, sent = f.sent - s.sent, used = f.used - s.used, withdrawn = f.withdrawn - s.withdrawn,
         for_others = f.for_others - s.for_others
    from (
      select m.bucket,
             m.assigned - lag(m.assigned, 1, 0::bigint) over by_time as assigned,
             m.reserved - lag(m.reserved, 1, 0::bigint) over by_time as reserved,
             m.released - lag(m.released, 1, 0::bigint) over by_time as released,
             m.void - lag(m.void, 1, 0::bigint) over by_time as void,
             m.sent - lag(m.sent, 1, 0::bigint) over by_time as sent,
             m.used - lag(m.used, 1, 0::bigint) over by_time as used,
             m.withdrawn - lag(m.withdrawn, 1, 0::bigint) over by_time as withdrawn,
             m.for_others - lag(m.for_others, 1, 0::bigint) over by_time as for_others
        from statistics_checkpoints m
       where m.tenant_id = p_tenant and m.set_no = p_set_no
      window by_time as (order by m.bucket)
    ) s
   where f.tenant_id = p_tenant and f.bucket = s.bucket;
end $$;
