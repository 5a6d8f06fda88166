-- Deletes reservations from the list of open ones. They are looked up one by one, in the order of the primary key: for a
-- list of numbers the planner chose an index that begins with the same columns and read all reservations of the set. The
-- caller holds the lock of the set, so the rows stay where they are found.
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
