-- Replaces the id of a contact by a pseudonym and returns its erasure: an existing one, finished or not, if there is one
-- for this id or pseudonym. A merged contact stands for all contacts merged with it. An unknown contact is erased too,
-- because its id may occur in texts.
create or replace function erase_contact(
  p_tenant integer, p_contact text, out pseudonym text, out requested_at timestamptz, out finished_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
  v_contact contacts;
  v_family  bigint[];
  v_erasure erasures;
  v_ids     text[] := array[p_contact];
begin
  perform lock_contacts(p_tenant);

  select c.* into v_contact
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_contact;
  if v_contact.erased then
    select e.* into v_erasure
      from contacts c
      join erasures e on e.tenant_id = p_tenant and e.pseudonym = c.contact_id
     where c.tenant_id = p_tenant and c.contact_no = coalesce(v_contact.merged_into, v_contact.contact_no);
  elsif v_contact.contact_no is null then
    select e.* into v_erasure
      from erasures e
     where e.tenant_id = p_tenant and e.pseudonym = p_contact;
    if v_erasure.pseudonym is null then
      select e.* into v_erasure
        from erasures e
       where e.tenant_id = p_tenant and e.finished_at is null and p_contact = any (e.contact_ids)
       limit 1;
    end if;
  end if;

  if v_erasure.pseudonym is null then
    v_erasure.pseudonym := 'erased-' || gen_random_uuid();
    if v_contact.contact_no is not null then
      v_family := contact_family(p_tenant, p_contact);
      v_ids := array(
        select c.contact_id
          from contacts c
         where c.tenant_id = p_tenant and c.contact_no = any (v_family));
      update contacts
         set erased = true,
             contact_id = case
               when contact_no = coalesce(v_contact.merged_into, v_contact.contact_no) then v_erasure.pseudonym
               else 'erased-' || gen_random_uuid()
             end
       where tenant_id = p_tenant and contact_no = any (v_family);
    end if;
    insert into erasures (tenant_id, pseudonym, contact_ids)
    values (p_tenant, v_erasure.pseudonym, v_ids)
    returning * into v_erasure;
  end if;
  pseudonym := v_erasure.pseudonym;
  requested_at := v_erasure.requested_at;
  finished_at := v_erasure.finished_at;
end $$;
