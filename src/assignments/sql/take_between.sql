-- Takes up to `p_want` cards of a lot where cards that were withdrawn by name come next, and returns the runs of cards
-- between those. A phase of `take_codes`, under the same lock and settings.
create or replace function take_between(
  p_tenant integer, p_set_no integer, p_lot_no integer, p_cursor integer, p_want integer, p_number bigint)
returns card_run[]
language plpgsql
as $$
begin
  return array(
    select (
             p_set_no, p_number + min(c.place) - 1, p_lot_no, min(c.ordinal) - 1, count(*)::integer,
             array_agg(c.code order by c.ordinal), array_agg(c.expires_at order by c.ordinal),
             case when count(c.attributes) > 0 then array_agg(c.attributes order by c.ordinal) end
           )::card_run
      from (
        select c.ordinal, c.code, c.expires_at, c.attributes, row_number() over (order by c.ordinal) as place
          from cards c
          left join lateral (
            select w.ordinal
              from withdrawals w
             where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = p_lot_no
               and w.ordinal between c.ordinal and c.ordinal
             order by w.ordinal
             limit 1
          ) w on true
         where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = p_lot_no and c.ordinal > p_cursor
           and w.ordinal is null
         order by c.ordinal
         limit p_want
      ) c
     group by c.ordinal - c.place
     order by min(c.ordinal));
end $$;
