-- Reads the contact of each item of a batch, and the assignment of its key.
--
-- Contacts that were merged count as one. Each lookup of a contact reads `merged_into` in the row that it reads anyway; the
-- other members are looked up only for merged contacts, in the same statement, so a concurrent merge takes effect before the
-- batch or after it. Their assignments in the requested set are exact in any case: none can be added without the lock of that
-- set, whichever member requests it.
create or replace function look_up_items(p_tenant integer, p_set coupon_sets, p_keys uuid[], p_contacts text[])
returns item_facts
language plpgsql
stable
as $$
declare
  v_facts item_facts;
begin
  v_facts.holds := p_set.on_repeat <> 'newCode' or p_set.assignments_per_contact is not null;
  -- `order by … limit 1` keeps each lookup a probe of the index that it names, whatever the statistics were when it was
  -- planned; it cannot become a hash join of the whole log. Subscripts are used because `unnest` of many arrays would copy
  -- each of them into a store of its own.
  select array_agg(c.contact_no), array_agg(coalesce(latest.contact_seq, 0)), array_agg(family.members), array_agg(family.id),
         array_agg(own.set_no), array_agg(own.number), array_agg(own.contact_no),
         count(own.number) = 0 and count(c.merged_into) = 0 and not (v_facts.holds and count(latest.contact_seq) > 0),
         -- Most sets have none.
         exists (
           select 1
             from assignment_answers n
            where n.tenant_id = p_tenant and n.requested_set_no = p_set.set_no)
    into v_facts.contact_nos, v_facts.contact_seqs, v_facts.families, v_facts.roots,
         v_facts.key_sets, v_facts.key_numbers, v_facts.key_holders, v_facts.all_served, v_facts.has_answers
    from generate_series(1, cardinality(p_keys)) i
    left join lateral (
      select coalesce(c.merged_into, c.contact_no) as contact_no, c.merged_into
        from contacts c
       where c.tenant_id = p_tenant and c.contact_id between p_contacts[i] and p_contacts[i]
       order by c.contact_id
       limit 1
    ) c on true
    left join lateral (
      select array_agg(m.contact_no)::text as members, min(m.contact_id) filter (where m.contact_no = m.merged_into) as id
        from (
          select m.contact_no, m.contact_id, m.merged_into
            from contacts m
           where c.merged_into is not null
             and m.tenant_id = p_tenant and m.merged_into between c.merged_into and c.merged_into
           order by m.merged_into
        ) m
    ) family on true
    left join lateral (
      select a.set_no, a.number, a.contact_no
        from assignments a
       where a.tenant_id = p_tenant and a.requested_set_no = p_set.set_no
         and a.key_hash between p_keys[i] and p_keys[i]
       order by a.key_hash
       limit 1
    ) own on true
    left join lateral (
      select a.contact_seq
        from assignments a
       where a.tenant_id = p_tenant and a.contact_no = c.contact_no and a.requested_set_no = p_set.set_no
       order by a.contact_seq desc
       limit 1
    ) latest on true;
  v_facts.all_served := v_facts.all_served and not v_facts.has_answers and (
    cardinality(p_contacts) = 1
    or cardinality(p_contacts) = (select count(distinct q.contact collate "C") from unnest(p_contacts) as q (contact)));
  return v_facts;
end $$;
