-- Phase of erase_portion: erases the ids from the statistics of the next set.
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
    perform erase_set_statistics(p_at.tenant_id, v_set, p_ids);
    p_at.at_set := v_set;
  else
    p_at.stage := 'entries';
  end if;
  return p_at;
end $$;
