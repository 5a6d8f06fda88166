-- Inserts the rows of `staged` as rows of the new tenant, drops `staged`, and returns the number of rows.
--
-- All numbers of a tenant stay as they are, except those that a sequence gives to all tenants: an identity column gets new
-- numbers in the same order. Of these, only the numbers of contacts are referred to. `staged_contacts` maps the old ones to the
-- new ones. Erasures that are under way begin their search again, since it keeps numbers of both kinds.
create or replace function end_tenant_table(p_tenant integer, p_table text)
returns bigint
language plpgsql
as $$
declare
  v_columns text;
  v_values  text;
  v_order   text;
  v_rows    bigint;
begin
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum),
         string_agg(
           case
             when a.attname = 'tenant_id' then '$1'
             when a.attname = 'contact_no' then 'c.contact_no'
             else format('s.%I', a.attname)
           end, ', ' order by a.attnum)
    into v_columns, v_values
    from pg_attribute a
   where a.attrelid = p_table::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = '';
  select format('order by s.%I', a.attname) into v_order
    from pg_attribute a
   where a.attrelid = p_table::regclass and a.attidentity <> '';
  execute format(
    'insert into %I (%s) select %s from staged s %s %s',
    p_table, v_columns, v_values,
    case when p_table = 'assignments' then 'left join staged_contacts c on c.old_no = s.contact_no' end, v_order)
    using p_tenant;
  get diagnostics v_rows = row_count;

  if p_table = 'contacts' then
    execute format(
      'create temporary table staged_contacts on commit drop as
         select s.contact_no as old_no, c.contact_no
           from staged s
           join contacts c on c.tenant_id = %s and c.contact_id = s.contact_id',
      p_tenant);
    execute format(
      'update contacts c
          set merged_into = m.contact_no
         from staged_contacts m
        where c.tenant_id = %s and c.merged_into = m.old_no',
      p_tenant);
  elsif p_table = 'erasures' then
    update erasures e
       set stage = 'waiting', at_import = default, at_set = default, at_lot = default, at_number = default
     where e.tenant_id = p_tenant and e.finished_at is null;
  end if;
  drop table staged;
  return v_rows;
end $$;
