-- What a replica must know of the schema that it finds: the oldest release that works with it, and the newest migration. A replica
-- reads it as `couponry_system`, since its login may not own the tables. Both are written with the functions.

alter table applied_functions
  -- A replica of an earlier release refuses to start.
  add column min_release integer[] not null default '{0,1,0}',
  add column migration bigint not null default 0;

grant select on applied_functions to couponry_system;
