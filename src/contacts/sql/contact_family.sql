-- Returns the numbers of a contact and of all contacts merged with it; an empty array if there is no such contact.
create or replace function contact_family(p_tenant integer, p_contact text)
returns bigint[]
language plpgsql
stable
as $$
declare
  v_contact contacts;
begin
  select c.* into v_contact
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_contact;
  if v_contact.merged_into is null then
    return array_remove(array[v_contact.contact_no], null);
  end if;
  return array(
    select m.contact_no
      from contacts m
     where m.tenant_id = p_tenant and m.merged_into between v_contact.merged_into and v_contact.merged_into
     order by m.merged_into);
end $$;
