-- Everything of version 1. Times are microseconds since 1970-01-01T00:00:00Z.
--
-- What each index costs is paid on every tokenization, so there are few. There are no foreign keys: a row that
-- points nowhere does not open, and the check would cost a look-up for each card.

CREATE TABLE tenants (
    id         text    NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 63),
    settings   text    NOT NULL,
    status     text    NOT NULL CHECK (status IN ('active', 'suspended')),
    version    integer NOT NULL CHECK (version >= 1),
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;

-- Data keys, wrapped by the KMS. `scope` is a tenant, or '-' for the service's own.
-- `records` counts what a key sealed, in steps: a key seals at most 2^24 records.
CREATE TABLE data_keys (
    id          blob    NOT NULL PRIMARY KEY,
    scope       text    NOT NULL,
    purpose     text    NOT NULL CHECK (purpose IN ('card', 'fingerprint', 'idempotency', 'audit-signing')),
    wrapped     blob    NOT NULL,
    provider    text    NOT NULL,
    kms_key     text    NOT NULL,
    state       text    NOT NULL CHECK (state IN ('pre-activation', 'active', 'suspended', 'deactivated', 'compromised', 'destroyed')),
    records     integer NOT NULL DEFAULT 0 CHECK (records >= 0),
    created_at  integer NOT NULL,
    seals_until integer NOT NULL
) STRICT;
-- First writer wins: a scope has one active key for each purpose.
CREATE UNIQUE INDEX data_keys_active ON data_keys (scope, purpose) WHERE state = 'active';

-- Cards. The token's hash is unique across tenants; the row of an erased card stays, so a token is never issued again.
-- `exp` is YYMM. `record` is sealed, and empty once destroyed.
CREATE TABLE cards (
    token_hash    blob    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    token         text    NOT NULL,
    tenant        text    NOT NULL,
    record        blob    NOT NULL,
    data_key      blob    NOT NULL,
    bin           text    NOT NULL CHECK (length(bin) IN (0, 6, 8)),
    last4         text    NOT NULL CHECK (length(last4) IN (0, 4)),
    exp           text    CHECK (length(exp) = 4),
    brand         text,
    length        integer CHECK (length BETWEEN 12 AND 19),
    row_version   integer NOT NULL CHECK (row_version >= 1),
    expires_at    integer,
    metadata      text,
    created_at    integer NOT NULL,
    updated_at    integer NOT NULL,
    deleted_at    integer,
    destroy_after integer,
    CHECK ((deleted_at IS NULL) = (destroy_after IS NULL))
) STRICT;
CREATE INDEX cards_listed ON cards (tenant, created_at);
CREATE INDEX cards_expiring ON cards (expires_at) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX cards_condemned ON cards (destroy_after) WHERE destroy_after IS NOT NULL AND length(record) > 0;

-- Keyed fingerprints of numbers, for tenants that deduplicate: one token for each.
CREATE TABLE fingerprints (
    tenant      text NOT NULL,
    fingerprint blob NOT NULL CHECK (length(fingerprint) = 32),
    token_hash  blob NOT NULL CHECK (length(token_hash) = 32),
    PRIMARY KEY (tenant, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX fingerprints_of_card ON fingerprints (token_hash);

-- Other names that lead to a card's token. The MAC covers the whole row.
CREATE TABLE aliases (
    alias_hash blob    NOT NULL PRIMARY KEY CHECK (length(alias_hash) = 32),
    tenant     text    NOT NULL,
    kind       text    NOT NULL CHECK (kind IN ('pan_shaped', 'foreign')),
    alias      text    NOT NULL,
    token_hash blob    NOT NULL CHECK (length(token_hash) = 32),
    mac        blob    NOT NULL CHECK (length(mac) = 32),
    created_at integer NOT NULL
) STRICT;
CREATE INDEX aliases_of_card ON aliases (token_hash);

-- Answers to give again. `scope` is SHA-256 of caller, tenant and key; `digest` is keyed.
CREATE TABLE idempotency_keys (
    scope      blob    NOT NULL PRIMARY KEY CHECK (length(scope) = 32),
    digest     blob    NOT NULL CHECK (length(digest) = 32),
    status     integer NOT NULL CHECK (status BETWEEN 200 AND 599),
    answer     blob    NOT NULL,
    expires_at integer NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at);

-- Forwards: permitted uses of card data. `cards` is a JSON array of token references, `outcome` JSON as the proxy told.
CREATE TABLE forwards (
    id         blob    NOT NULL PRIMARY KEY,
    tenant     text    NOT NULL,
    proxy      text    NOT NULL,
    caller     text    NOT NULL,
    route      text    NOT NULL,
    account    text    NOT NULL,
    method     text    NOT NULL,
    path       text    NOT NULL,
    host       text    NOT NULL,
    cards      text    NOT NULL,
    attributes text    NOT NULL,
    state      text    NOT NULL CHECK (state IN ('open', 'answered', 'not-sent', 'unknown')),
    opened_at  integer NOT NULL,
    closed_at  integer,
    outcome    text,
    CHECK ((state = 'open') = (closed_at IS NULL))
) STRICT;
CREATE INDEX forwards_open ON forwards (opened_at) WHERE state = 'open';

-- One row for each start of each instance. `next_seq` is the number of its entries; it moves in the transaction that
-- writes them, so it also serializes what one instance writes.
CREATE TABLE audit_boots (
    boot_id    blob    NOT NULL PRIMARY KEY,
    instance   text    NOT NULL,
    mac_key    blob    NOT NULL,
    started_at integer NOT NULL,
    written_at integer NOT NULL,
    next_seq   integer NOT NULL CHECK (next_seq >= 0)
) STRICT;

-- Audit entries: the exact bytes, RFC 8785 JSON in UTF-8. Never updated.
CREATE TABLE audit_entries (
    boot_id      blob    NOT NULL,
    instance_seq integer NOT NULL CHECK (instance_seq >= 0),
    leaf         blob    NOT NULL,
    PRIMARY KEY (boot_id, instance_seq)
) STRICT, WITHOUT ROWID;
