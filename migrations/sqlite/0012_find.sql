-- The index of the log: what `audit find` and `audit blast-radius` look entries up by. Nothing here is written by a request: one
-- replica follows the tree and writes it behind, in the order of the log. All of it can be made anew from the log, so
-- nothing here is evidence: what is found is read from the log and held against its tree.

-- Who follows the log for what, and up to which place it is done. `fence` rises with every holder.
CREATE TABLE log_followers (
    name        text    NOT NULL PRIMARY KEY CHECK (name IN ('find', 'watch')),
    next_place  integer NOT NULL CHECK (next_place >= 0),
    holder      blob,
    fence       integer NOT NULL CHECK (fence >= 0),
    lease_until integer NOT NULL
) STRICT;
INSERT INTO log_followers VALUES ('find', 0, NULL, 0, 0), ('watch', 0, NULL, 0, 0);

-- Names that entries are found by, each once, and how many entries have each.
CREATE TABLE log_names (
    id      integer NOT NULL PRIMARY KEY,
    kind    text    NOT NULL CHECK (kind IN ('workload', 'route', 'tenant', 'verb', 'outcome')),
    name    text    NOT NULL,
    entries integer NOT NULL CHECK (entries >= 0)
) STRICT;
CREATE UNIQUE INDEX log_names_by_name ON log_names (kind, name);
INSERT INTO log_names VALUES (1, 'outcome', 'success', 0), (2, 'outcome', 'denied', 0), (3, 'outcome', 'failure', 0);

-- A row for each entry, by its place in the log: numbers of names; with its cards and releases some 100 bytes.
CREATE TABLE log_entries (
    place   integer NOT NULL PRIMARY KEY CHECK (place >= 0),
    at      integer NOT NULL,
    verb    integer NOT NULL,
    outcome integer NOT NULL,
    caller  integer NOT NULL,
    proxy   integer,
    route   integer,
    tenant  integer
) STRICT;
CREATE INDEX log_entries_verb ON log_entries (verb);
CREATE INDEX log_entries_outcome ON log_entries (outcome) WHERE outcome <> 1;
CREATE INDEX log_entries_caller ON log_entries (caller);
CREATE INDEX log_entries_proxy ON log_entries (proxy) WHERE proxy IS NOT NULL;
CREATE INDEX log_entries_route ON log_entries (route) WHERE route IS NOT NULL;
CREATE INDEX log_entries_tenant ON log_entries (tenant) WHERE tenant IS NOT NULL;

-- Which entries name which card. `token` is the first eight bytes of the token's hash.
CREATE TABLE log_cards (
    token integer NOT NULL,
    place integer NOT NULL,
    PRIMARY KEY (token, place)
) STRICT, WITHOUT ROWID;

-- Card data released: for its caller, and for the proxy that asked; by card, so that a blast radius needs no memory.
CREATE TABLE log_forwards (
    workload integer NOT NULL,
    token    integer NOT NULL,
    place    integer NOT NULL,
    PRIMARY KEY (workload, token, place)
) STRICT, WITHOUT ROWID;

-- What the rules saw before: digests of a certificate or a route of a workload, and where in the log each was first.
CREATE TABLE log_seen (
    name        blob    NOT NULL PRIMARY KEY CHECK (length(name) = 32),
    first_place integer NOT NULL CHECK (first_place >= 0)
) STRICT, WITHOUT ROWID;

-- The times of each 4,096 entries, so that a time is found without an index over all of them.
CREATE TABLE log_spans (
    span     integer NOT NULL PRIMARY KEY CHECK (span >= 0),
    from_at  integer NOT NULL,
    until_at integer NOT NULL
) STRICT;
