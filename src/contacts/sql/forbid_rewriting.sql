-- Rejects an update of the texts that callers sent with assignments, ledger entries and cards, unless an erasure of the
-- tenant is in progress. Otherwise these columns are written once.
create or replace function forbid_rewriting()
returns trigger
language plpgsql
as $$
begin
  if not exists (
    select 1
      from erasures e
     where e.tenant_id = new.tenant_id and e.finished_at is null)
  then
    raise exception 'permission denied: only erasing a contact may rewrite its texts'
      using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

create or replace trigger forbid_rewriting
  before update of workflow_id, node_id, execution_id on assignments
  for each row
  execute function forbid_rewriting();

create or replace trigger forbid_rewriting
  before update of reason on ledger_entries
  for each row
  execute function forbid_rewriting();

create or replace trigger forbid_rewriting
  before update of attributes on cards
  for each row
  execute function forbid_rewriting();
