-- Copies the time of an undo to the lot, which outlives the import.
create or replace function record_undo()
returns trigger
language plpgsql
as $$
begin
  update lots l
     set undone_at = new.undone_at
   where l.tenant_id = new.tenant_id and l.set_no = new.set_no and l.lot_no = new.lot_no;
  return null;
end $$;

create or replace trigger record_undo
  after update on imports
  for each row
  when (old.undone_at is distinct from new.undone_at)
  execute function record_undo();
