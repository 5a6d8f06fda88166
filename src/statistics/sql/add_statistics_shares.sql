-- Adds the totals of a source of statistics to those of another source of the set, at each time that one of them has.
create or replace function add_statistics_shares(p_tenant integer, p_set_no integer, p_from integer, p_into integer)
returns void
language sql
as $$
  insert into statistics_shares (tenant_id, set_no, source_no, bucket, assigned, released, void, sent, used)
  select p_tenant, p_set_no, p_into, b.bucket, sum(t.assigned), sum(t.released), sum(t.void), sum(t.sent), sum(t.used)
    from (
      select distinct h.bucket
        from statistics_shares h
       where h.tenant_id = p_tenant and h.set_no = p_set_no and h.source_no in (p_from, p_into)
    ) b
   cross join unnest(array[p_from, p_into]) as s (source_no)
   cross join lateral (
     select h.*
       from statistics_shares h
      where h.tenant_id = p_tenant and h.set_no = p_set_no and h.source_no = s.source_no and h.bucket <= b.bucket
      order by h.bucket desc
      limit 1
   ) t
   group by b.bucket
  on conflict (tenant_id, set_no, source_no, bucket) do update
     set assigned = excluded.assigned, released = excluded.released, void = excluded.void, sent = excluded.sent,
         used = excluded.used;
$$;
