-- Decides which items of a batch are answered from the log, which are to be served, and which wait for the outcome of an
-- earlier item of the same contact. `p_fault` is the outcome of all items whose key is unknown, null if there is none.
create or replace function evaluate_items(
  p_tenant integer, p_set coupon_sets, p_fault assign_outcome, p_facts item_facts, p_keys uuid[], p_contacts text[],
  p_at timestamptz)
returns item_plan
language plpgsql
stable
as $$
declare
  v_plan        item_plan;
  -- In a variable of its own an array is expanded once; in a field of a record, for each subscript.
  v_contact_nos bigint[] := p_facts.contact_nos;
  v_seqs        integer[] := p_facts.contact_seqs;
  v_families    text[] := p_facts.families;
  v_roots       text[] := p_facts.roots;
  v_key_sets    integer[] := p_facts.key_sets;
  v_key_numbers bigint[] := p_facts.key_numbers;
  v_key_holders bigint[] := p_facts.key_holders;
begin
  -- A known key takes precedence over all else in the request.
  with seen as (
    select i as item, coalesce(v_roots[i], p_contacts[i]) as contact, v_seqs[i] as contact_seq, family.members,
           coalesce(v_key_sets[i], other.set_no) as key_set_no,
           coalesce(v_key_numbers[i], other.number) as key_number,
           coalesce(v_key_holders[i], other.contact_no) as key_contact_no,
           held.count as held, held.set_no as held_set_no, held.number as held_number
      from generate_series(1, cardinality(p_keys)) i
     cross join lateral (select coalesce(v_families[i]::bigint[], array[v_contact_nos[i]]) as members) family
      left join lateral (
        select a.set_no, a.number, a.contact_no
          from assignment_answers n
         cross join lateral (
           select a.set_no, a.number, a.contact_no
             from assignments a
            where a.tenant_id = p_tenant and a.set_no = n.set_no and a.number between n.number and n.number
            order by a.number
            limit 1
         ) a
         where p_facts.has_answers and v_key_numbers[i] is null
           and n.tenant_id = p_tenant and n.requested_set_no = p_set.set_no and n.key_hash = p_keys[i]
         limit 1
      ) other on true
      -- Assignments that the contact holds, and the latest of them that the set repeats. Those of merged contacts are in
      -- the order of time.
      left join lateral (
        select count(*)::integer as count,
               (array_agg(h.set_no order by h.given_at desc, h.by_child desc, h.given_no desc, h.contact_seq desc)
                 filter (where h.again))[1] as set_no,
               (array_agg(h.number order by h.given_at desc, h.by_child desc, h.given_no desc, h.contact_seq desc)
                 filter (where h.again))[1] as number
          from unnest(family.members) m (contact_no)
         cross join lateral (
            select l.set_no, l.number, l.contact_seq, case when v_families[i] is not null then l.assigned_at end as given_at,
                   -- Within a batch the requested set serves before its children.
                   case when v_families[i] is not null then l.set_no <> p_set.set_no end as by_child,
                   case when v_families[i] is not null then l.number end as given_no,
                   p_set.on_repeat <> 'sameCode'
                     or p_set.same_code_until = 'always'
                     or ((l.valid_until is null or l.valid_until > p_at)
                         and (p_set.same_code_until = 'expired' or l.last_event is distinct from 'used'))
                     as again
              from assignment_lives l
             where p_facts.holds and (v_seqs[i] > 0 or v_families[i] is not null)
               and l.tenant_id = p_tenant and l.contact_no = m.contact_no
               and l.requested_set_no = p_set.set_no
               and assignment_state(l.last_event, l.reserved_until, p_at) not in ('released', 'void', 'expired')
             order by l.contact_seq
          ) h
      ) held on true
  ), evaluated as materialized (
    select s.item, s.contact, s.contact_seq,
           (case
             when s.key_number is not null and s.key_contact_no = any (s.members) then 'replayed'
             when s.key_number is not null then 'keyReused'
             when p_fault is not null then p_fault
             when s.held = 0 then null
             when p_set.on_repeat = 'refuse' then 'refused'
             when p_set.on_repeat = 'sameCode' and s.held_number is not null then 'alreadyAssigned'
             when p_set.on_repeat = 'newCode' and s.held >= p_set.assignments_per_contact then 'limitReached'
           end)::assign_outcome as outcome,
           -- The number of assignments that this batch may make for the contact; null if there is no limit.
           case
             when p_set.on_repeat <> 'newCode' then 1
             else p_set.assignments_per_contact - s.held
           end as allowance,
           coalesce(s.key_set_no, s.held_set_no) as set_no,
           coalesce(s.key_number, s.held_number) as number
      from seen s
  ), unserved as materialized (
    select e.item, e.contact_seq, e.allowance,
           row_number() over of_contact as place,
           nth_value(e.item, e.allowance) over of_contact as leader
      from evaluated e
     where e.outcome is null
    window of_contact as (partition by e.contact order by e.item)
  ), known as (
    select array_agg(e.item) as items, array_agg(e.outcome) as outcomes, array_agg(e.set_no) as sets,
           array_agg(e.number) as numbers
      from evaluated e
     where e.outcome is not null
  ), served as (
    select array_agg(u.item order by u.item) as items,
           array_agg((u.contact_seq + u.place)::integer order by u.item) as seqs
      from unserved u
     where u.allowance is null or u.place <= u.allowance
  ), waiting as (
    select array_agg(u.item) as items, array_agg(u.leader) as leaders
      from unserved u
     where u.place > u.allowance
  )
  select known.items, known.outcomes, known.sets, known.numbers, served.items, served.seqs, waiting.items, waiting.leaders
    into v_plan.known_items, v_plan.known_outcomes, v_plan.known_sets, v_plan.known_numbers,
         v_plan.served_items, v_plan.served_seqs, v_plan.waiting_items, v_plan.waiting_leaders
    from known, served, waiting;
  return v_plan;
end $$;
