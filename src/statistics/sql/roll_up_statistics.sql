-- Rolls up the statistics of a set, by at most `p_most` numbers of its ledger, and returns by how many; 0 also if another
-- replica rolls up a set of the tenant.
create or replace function roll_up_statistics(p_tenant integer, p_set_no integer, p_most integer)
returns bigint
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_from bigint;
  v_upto bigint;
begin
  perform enter_tenant(p_tenant);
  select r.after, r.upto into v_from, v_upto
    from begin_roll_up(p_tenant, p_set_no, p_most) r;
  if v_upto is null or v_upto = v_from then
    return 0;
  end if;

  perform add_statistics_sources(p_tenant, p_set_no, v_from, v_upto);

  with flows as materialized (
    select f.*, statistics_bucket(f.at) as bucket
      from ledger_flows(p_tenant, p_set_no, v_from, v_upto) f
  ), checkpoints as (
    insert into statistics_checkpoints (
      tenant_id, set_no, bucket, assigned, reserved, released, void, sent, used, withdrawn, for_others)
    select p_tenant, p_set_no, b.bucket,
           coalesce(m.assigned, 0) + sum(b.assigned) over so_far,
           coalesce(m.reserved, 0) + sum(b.reserved) over so_far,
           coalesce(m.released, 0) + sum(b.released) over so_far,
           coalesce(m.void, 0) + sum(b.void) over so_far,
           coalesce(m.sent, 0) + sum(b.sent) over so_far,
           coalesce(m.used, 0) + sum(b.used) over so_far,
           coalesce(m.withdrawn, 0) + sum(b.withdrawn) over so_far,
           coalesce(m.for_others, 0) + sum(b.for_others) over so_far
      from (
        select f.bucket, sum(f.assigned) as assigned, sum(f.reserved) as reserved, sum(f.released) as released,
               sum(f.void) as void, sum(f.sent) as sent, sum(f.used) as used, sum(f.withdrawn) as withdrawn,
               sum(f.for_others) as for_others
          from flows f
         group by f.bucket
      ) b
      left join lateral (
        select m.*
          from statistics_checkpoints m
         where m.tenant_id = p_tenant and m.set_no = p_set_no
         order by m.bucket desc
         limit 1
      ) m on true
    window so_far as (order by b.bucket)
    on conflict (tenant_id, set_no, bucket) do update
       set assigned = excluded.assigned, reserved = excluded.reserved, released = excluded.released,
           void = excluded.void, sent = excluded.sent, used = excluded.used, withdrawn = excluded.withdrawn,
           for_others = excluded.for_others
  ), of_tenant as (
    insert into statistics_tenant_flows as x (
      tenant_id, bucket, assigned, reserved, released, void, sent, used, withdrawn, for_others)
    select p_tenant, f.bucket, sum(f.assigned), sum(f.reserved), sum(f.released), sum(f.void), sum(f.sent), sum(f.used),
           sum(f.withdrawn), sum(f.for_others)
      from flows f
     group by f.bucket
    on conflict (tenant_id, bucket) do update
       set assigned = x.assigned + excluded.assigned, reserved = x.reserved + excluded.reserved,
           released = x.released + excluded.released, void = x.void + excluded.void, sent = x.sent + excluded.sent,
           used = x.used + excluded.used, withdrawn = x.withdrawn + excluded.withdrawn,
           for_others = x.for_others + excluded.for_others
  ), shares as (
    insert into statistics_shares (tenant_id, set_no, source_no, bucket, assigned, released, void, sent, used)
    select p_tenant, p_set_no, b.source_no, b.bucket,
           coalesce(m.assigned, 0) + sum(b.assigned) over so_far,
           coalesce(m.released, 0) + sum(b.released) over so_far,
           coalesce(m.void, 0) + sum(b.void) over so_far,
           coalesce(m.sent, 0) + sum(b.sent) over so_far,
           coalesce(m.used, 0) + sum(b.used) over so_far
      from (
        select s.source_no, f.bucket, f.assigned, f.released, f.void, f.sent, f.used
          from (
            select f.workflow_id, f.node_id, f.lot_no, f.bucket, sum(f.assigned) as assigned,
                   sum(f.released) as released, sum(f.void) as void, sum(f.sent) as sent, sum(f.used) as used
              from flows f
             where f.workflow_id is not null
             group by f.workflow_id, f.node_id, f.lot_no, f.bucket
          ) f
          join statistics_sources s
            on s.tenant_id = p_tenant and s.set_no = p_set_no
               and s.workflow_id = f.workflow_id and s.node_id = f.node_id and s.lot_no = f.lot_no
      ) b
      left join lateral (
        select m.assigned, m.released, m.void, m.sent, m.used
          from statistics_shares m
         where m.tenant_id = p_tenant and m.set_no = p_set_no and m.source_no = b.source_no
         order by m.bucket desc
         limit 1
      ) m on true
    window so_far as (partition by b.source_no order by b.bucket)
    on conflict (tenant_id, set_no, source_no, bucket) do update
       set assigned = excluded.assigned, released = excluded.released, void = excluded.void, sent = excluded.sent,
           used = excluded.used
  )
  insert into statistics_expiries as x (tenant_id, set_no, lot_no, bucket, codes)
  select p_tenant, p_set_no, f.lot_no, statistics_bucket(f.expired_from), sum(f.expired)
    from flows f
   where f.expired_from is not null and f.expired <> 0
   group by f.lot_no, statistics_bucket(f.expired_from)
  on conflict (tenant_id, set_no, lot_no, bucket) do update
     set codes = x.codes + excluded.codes;

  insert into statistics_progress (tenant_id, set_no, rolled_up)
  values (p_tenant, p_set_no, v_upto)
  on conflict (tenant_id, set_no) do update
     set rolled_up = excluded.rolled_up;
  return v_upto - v_from;
end $$;
