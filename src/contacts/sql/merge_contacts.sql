-- Makes one contact of two, and of all that were merged into them before.
--
-- What two clients at once see: merging and erasing of a tenant's contacts happen one after the other, by a lock that
-- whoever does it takes first. So two merges that cross are judged in some order, and the later one by what the earlier
-- one did. Beside that they take no lock of a set, and `assign_batch` takes none of a contact: it reads in one statement
-- who is one, so each of its batches comes before the merge or after it, and what it gave before counts after.
-- Contacts that nobody knows yet are made in the order of their ids, as `contact_numbers` does, so nobody waits for who
-- waits for him.
--
-- Outcomes: `merged` (now or before), `mergedBefore` (the contact was merged into another one, or the other one into it:
-- `root` says which stands for both), `erased` (one of them). Unless it is `merged`, the caller rolls back.
create or replace function merge_contacts(p_tenant integer, p_contact text, p_into text, out outcome text, out root text)
language plpgsql
as $$
declare
  v_contact contacts;
  v_into    contacts;
  v_root    bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'merge_contacts needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform lock_contacts(p_tenant);

  insert into contacts (tenant_id, contact_id)
  select p_tenant, q.id
    from unnest(array[p_contact, p_into]) as q (id)
   order by q.id collate "C"
  on conflict (tenant_id, contact_id) do nothing;
  select c.* into strict v_contact
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_contact;
  select c.* into strict v_into
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_into;

  v_root := coalesce(v_into.merged_into, v_into.contact_no);
  if v_contact.erased or v_into.erased then
    outcome := 'erased';
  elsif v_contact.contact_no = v_root then
    outcome := 'mergedBefore';
  elsif v_contact.merged_into <> v_contact.contact_no then
    outcome := case when v_contact.merged_into = v_root then 'merged' else 'mergedBefore' end;
    v_root := v_contact.merged_into;
  else
    outcome := 'merged';
    update contacts
       set merged_into = v_root
     where tenant_id = p_tenant and merged_into = v_contact.contact_no;
    update contacts
       set merged_into = v_root
     where tenant_id = p_tenant and contact_no in (v_contact.contact_no, v_root) and merged_into is distinct from v_root;
  end if;
  select c.contact_id into strict root
    from contacts c
   where c.tenant_id = p_tenant and c.contact_no = v_root;
end $$;
