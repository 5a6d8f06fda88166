-- Warnings of imports: an array of objects with `kind`, `detail` and possibly `count`, in the form of the API. They are found
-- while the file is read, so they never change.
alter table imports
  add column warnings jsonb not null default '[]';
