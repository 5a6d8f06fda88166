-- Returns the answer to an item that names no assignment.
create or replace function bare_answer(p_item integer, p_outcome assign_outcome, p_fallback boolean)
returns assign_answer
language plpgsql
immutable
as $$
declare
  v_answer assign_answer;
begin
  v_answer.item := p_item;
  v_answer.outcome := p_outcome;
  v_answer.fallback := p_fallback;
  return v_answer;
end $$;
