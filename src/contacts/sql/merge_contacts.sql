-- Merges two contacts, and all that were merged into them before, into one.
--
-- Two clients at once: merges and erasures of a tenant's contacts run one after the other, by a lock that each takes first.
-- Of two merges that cross, the later one sees the result of the earlier one. No lock of a set is taken, and `assign_batch`
-- takes no lock of a contact: it reads the members of a contact in one statement, so each batch comes before the merge or
-- after it, and its assignments count after the merge. New contacts are inserted in id order, as in `contact_numbers`, so
-- that two transactions cannot deadlock.
--
-- Outcomes: `merged` (now or before), `mergedBefore` (the contact was merged into another one, or the other one into it;
-- `root` is the contact that stands for both), `erased` (one of them was). Unless the outcome is `merged`, the caller rolls
-- back.
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
