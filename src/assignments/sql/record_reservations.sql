-- Appends the ledger entries of the reservations that `record_assignments` has just written for `p_runs`: at most `p_count`
-- in each set.
create or replace function record_reservations(p_tenant integer, p_runs card_run[], p_at timestamptz, p_count integer)
returns void
language plpgsql
as $$
begin
  perform append_entries(
            p_tenant, q.set_no, p_at, q.numbers, array_fill('reserved'::text, array[q.count]),
            array_fill('reserved'::text, array[q.count]), q.untils, null, q.callers, null)
     from (
       select first.set_no, count(*)::integer as count,
              array_agg(r.number order by r.number) as numbers,
              array_agg(r.expires_at order by r.number) as untils,
              array_agg(a.key_id order by r.number) as callers
         from (
           select r.set_no, min(r.number) as number
             from unnest(p_runs) r
            group by r.set_no
         ) first
        -- With an order and a limit, so that it begins at the set's new ones.
        cross join lateral (
          select r.set_no, r.number, r.expires_at
            from reservations r
           where r.tenant_id = p_tenant and r.set_no = first.set_no and r.number > first.number
           order by r.number
           limit p_count
        ) r
        cross join lateral (
          select a.key_id
            from assignments a
           where a.tenant_id = p_tenant and a.set_no = r.set_no and a.number between r.number and r.number
           order by a.number
           limit 1
        ) a
        group by first.set_no
     ) q;
end $$;
