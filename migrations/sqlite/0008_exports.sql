-- Exports that people asked for and approved; a few a year. `request` is canonical JSON, `sha256` of it is what is approved,
-- `approval` is JSON. Request and approval are nothing unless their MACs hold. Rows stay: they are who agreed to what.
CREATE TABLE exports (
    id           blob    NOT NULL PRIMARY KEY,
    tenant       text    NOT NULL,
    request      text    NOT NULL,
    sha256       blob    NOT NULL CHECK (length(sha256) = 32),
    requester    text    NOT NULL,
    requested_at integer NOT NULL,
    not_after    integer NOT NULL,
    mac_key      blob    NOT NULL,
    mac          blob    NOT NULL CHECK (length(mac) = 32),
    approver     text,
    approval     text,
    runs         integer NOT NULL CHECK (runs >= 0),
    CHECK (approver IS NULL OR approver <> requester),
    CHECK ((approver IS NULL) = (approval IS NULL)),
    CHECK (runs = 0 OR approver IS NOT NULL)
) STRICT;
-- A tenant's exports, newest first.
CREATE INDEX exports_of_tenant ON exports (tenant, requested_at);

-- What each run made. `manifest` is JSON without card data; none while it runs, or if its process was killed.
CREATE TABLE export_runs (
    export_id blob    NOT NULL,
    run       integer NOT NULL CHECK (run >= 1),
    run_by    text    NOT NULL,
    began_at  integer NOT NULL,
    ended_at  integer,
    manifest  text,
    PRIMARY KEY (export_id, run),
    CHECK ((ended_at IS NULL) = (manifest IS NULL))
) STRICT, WITHOUT ROWID;
