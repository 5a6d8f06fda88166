-- Leaves the plain items of `assign_plain`, each with one of the first cards of its set. Of those that are
-- ordered, drops all behind one that is not plain.
create or replace function drop_other_rows(p_rows plain_assignment[], p_ordered boolean[])
returns plain_assignment[]
language plpgsql
as $$
begin
  return array(
    select (item.item, card.tenant_id, card.set_no, card.number, card.lot_no, card.ordinal, card.code, card.assigned_at,
            card.expires_at, card.timezone, card.attributes, item.contact_no, item.is_new, item.contact_seq, true,
            card.import_id)::plain_assignment
      from (
        select r.*, row_number() over (partition by r.tenant_id, r.set_no order by r.item) as place
          from (
            select r.*,
                   r.is_plain and (not p_ordered[r.item]
                     or bool_and(r.is_plain or not p_ordered[r.item]) over (partition by r.tenant_id, r.set_no order by r.item))
                     as is_served
              from unnest(p_rows) r
          ) r
         where r.is_served
      ) item
      join (
        select r.*, row_number() over (partition by r.tenant_id, r.set_no order by r.number) as place
          from unnest(p_rows) r
      ) card using (tenant_id, set_no, place));
end $$;
