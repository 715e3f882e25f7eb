-- Cards by how long they have been kept, hidden ones aside. Read by the reaper once a minute for each tenant, by the
-- preview of a shorter retention and by the retention report.
CREATE INDEX cards_kept ON cards (tenant, updated_at) WHERE deleted_at IS NULL;
