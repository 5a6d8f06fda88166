-- The import of the lot from which a plain request was served, for the witness: numbers of lots are used again after a restore, or
-- after a failover that lost the last commits, and the id of an import is not. No table has this type.
alter type plain_assignment add attribute import_id uuid;
