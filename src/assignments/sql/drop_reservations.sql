-- Takes reservations out of the list of open ones. Found one by one, in the order of the primary key: a list of numbers
-- was looked for by an index that begins with the same columns and reads all of the set. The set's lock is held, so they
-- stay where they are found.
create or replace function drop_reservations(p_tenant integer, p_set_no integer, p_numbers bigint[])
returns void
language sql
as $$
  select delete_reservations(p_tenant, array(
    select found.ctid
      from unnest(p_numbers) as q (number)
     cross join lateral (
       select r.ctid
         from reservations r
        where r.tenant_id = p_tenant and r.set_no = p_set_no and r.number between q.number and q.number
        order by r.number
        limit 1
     ) found));
$$;
