-- Ends expired reservations of a set, at most 1000, and returns their number. The caller holds the lock of the set.
create or replace function end_reservations(p_tenant integer, p_set_no integer, p_at timestamptz)
returns integer
language plpgsql
as $$
declare
  v_numbers bigint[];
  v_count   integer;
begin
  v_numbers := array(
    select r.number
      from reservations r
     where r.tenant_id = p_tenant and r.set_no = p_set_no and r.expires_at <= p_at
     order by r.expires_at
     limit 1000);
  v_count := cardinality(v_numbers);
  if v_count = 0 then
    return 0;
  end if;

  perform drop_reservations(p_tenant, p_set_no, v_numbers);
  perform append_entries(
    p_tenant, p_set_no, p_at, v_numbers, array_fill('expired'::text, array[v_count]),
    array_fill('reserved'::text, array[v_count]),
    array(select a.expires_at
            from unnest(v_numbers) with ordinality as q (number, place)
           cross join lateral (
             select a.expires_at
               from assignments a
              where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number between q.number and q.number
              order by a.number
              limit 1
           ) a
           order by q.place),
    null, null, null);
  perform return_cards(p_tenant, p_set_no, v_numbers);
  return v_count;
end $$;
