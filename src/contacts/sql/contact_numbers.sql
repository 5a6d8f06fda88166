-- Gives a number to each contact that has none in `p_known`, and returns the numbers of all. `p_tenants` and `p_contacts`
-- are the tenant and the id of each. Numbers are drawn before they are written, so that they need not be read back unless
-- another batch inserted one of the contacts first or one occurs twice.
--
-- Known numbers are returned unchanged, because the contact may have been erased meanwhile and have another id. The same
-- may happen to a contact that another batch inserted first: then a new contact is inserted.
create or replace function contact_numbers(p_tenants integer[], p_contacts text[], p_known bigint[])
returns bigint[]
language plpgsql
as $$
declare
  v_numbers bigint[] := p_known;
  v_drawn   bigint[];
  v_new     integer;
  v_written integer;
begin
  loop
    v_new := cardinality(v_numbers) - cardinality(array_remove(v_numbers, null));
    exit when v_new = 0;
    v_drawn := array(
      select coalesce(v_numbers[i], nextval('contacts_contact_no_seq'))
        from generate_series(1, cardinality(p_contacts)) i
       order by i);
    -- In the order of tenant and id everywhere, so that two batches with the same new contacts cannot deadlock.
    insert into contacts (tenant_id, contact_no, contact_id) overriding system value
    select p_tenants[i], v_drawn[i], p_contacts[i]
      from generate_series(1, cardinality(p_contacts)) i
     where v_numbers[i] is null
     order by p_tenants[i], p_contacts[i] collate "C"
    on conflict (tenant_id, contact_id) do nothing;
    get diagnostics v_written = row_count;
    if v_written = v_new then
      return v_drawn;
    end if;
    -- Contacts that a batch of another set inserted meanwhile are visible to this statement.
    v_numbers := array(
      select coalesce(v_numbers[i], c.contact_no)
        from generate_series(1, cardinality(p_contacts)) i
        left join lateral (
          select c.contact_no
            from contacts c
           where c.tenant_id = p_tenants[i] and c.contact_id between p_contacts[i] and p_contacts[i]
           order by c.contact_id
           limit 1
        ) c on true
       order by i);
  end loop;
  return v_numbers;
end $$;
