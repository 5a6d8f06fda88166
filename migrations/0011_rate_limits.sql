-- Rate limits of single tenants, set by the operator.
--
-- Both are null where the limit of the replica applies: requests a second in the long run, and how many may come at once.
alter table tenants
  add column rate_per_second integer,
  add column rate_burst      integer,
  add constraint tenants_rate_check check (
    (rate_per_second is null) = (rate_burst is null) and rate_per_second > 0 and rate_burst > 0);
