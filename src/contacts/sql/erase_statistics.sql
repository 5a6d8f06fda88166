-- Phase of erase_portion: resets the statistics of the next set if a workflow or a node in them has one of the ids.
create or replace function erase_statistics(p_at erasures, p_ids text[])
returns erasures
language plpgsql
as $$
declare
  v_set integer;
begin
  select s.set_no into v_set
    from coupon_sets s
   where s.tenant_id = p_at.tenant_id and s.set_no > p_at.at_set
   order by s.set_no
   limit 1;
  if found then
    perform reset_statistics(p_at.tenant_id, v_set, ids_pattern(p_ids, false));
    p_at.at_set := v_set;
  else
    p_at.stage := 'entries';
  end if;
  return p_at;
end $$;
