-- Locks the rows of sets for `assign_plain`. Skips those that somebody holds locked, and those without cards: a lock that is of
-- no use would cost a commit.
create or replace function lock_plain_sets(p_tenants integer[], p_sets uuid[], p_firsts integer[], p_counts integer[])
returns locked_set[]
language plpgsql
as $$
begin
  return array(
    select s.locked
      from generate_series(1, cardinality(p_sets)) i
     cross join lateral (
       select (s.tenant_id, s.set_no, p_firsts[i], p_counts[i],
               s.on_repeat <> 'newCode' or s.assignments_per_contact is not null, s.expires_at, s.valid_for_days,
               s.timezone)::locked_set as locked
         from coupon_sets s
        where s.tenant_id = p_tenants[i] and s.id = p_sets[i] and s.type = 'multiple' and s.deleted_at is null
          for no key update skip locked
     ) s);
end $$;
