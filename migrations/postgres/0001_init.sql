-- Everything of version 1. Times are microseconds since 1970-01-01T00:00:00Z.
--
-- What each index costs is paid on every tokenization, so there are few. There are no foreign keys: a row that
-- points nowhere does not open, and the check would cost a look-up for each card.

CREATE TABLE tenants (
    id         text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 63),
    settings   text   NOT NULL,
    status     text   NOT NULL CHECK (status IN ('active', 'suspended')),
    version    bigint NOT NULL CHECK (version >= 1),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

-- Data keys, wrapped by the KMS. `scope` is a tenant, or '-' for the service's own.
-- `records` counts what a key sealed, in steps: a key seals at most 2^24 records.
CREATE TABLE data_keys (
    id          uuid   PRIMARY KEY,
    scope       text   COLLATE "C" NOT NULL,
    purpose     text   NOT NULL CHECK (purpose IN ('card', 'fingerprint', 'idempotency', 'audit-signing')),
    wrapped     bytea  NOT NULL,
    provider    text   NOT NULL,
    kms_key     text   NOT NULL,
    state       text   NOT NULL CHECK (state IN ('pre-activation', 'active', 'suspended', 'deactivated', 'compromised', 'destroyed')),
    records     bigint NOT NULL DEFAULT 0 CHECK (records >= 0),
    created_at  bigint NOT NULL,
    seals_until bigint NOT NULL
);
-- First writer wins: a scope has one active key for each purpose.
CREATE UNIQUE INDEX data_keys_active ON data_keys (scope, purpose) WHERE state = 'active';

-- Cards. The token's hash is unique across tenants; the row of an erased card stays, so a token is never issued again.
-- `exp` is YYMM. `record` is sealed, and empty once destroyed.
CREATE TABLE cards (
    token_hash    bytea    PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    token         text     COLLATE "C" NOT NULL,
    tenant        text     COLLATE "C" NOT NULL,
    record        bytea    NOT NULL,
    data_key      uuid     NOT NULL,
    bin           text     NOT NULL CHECK (length(bin) IN (0, 6, 8)),
    last4         text     NOT NULL CHECK (length(last4) IN (0, 4)),
    exp           text     CHECK (length(exp) = 4),
    brand         text,
    length        integer  CHECK (length BETWEEN 12 AND 19),
    row_version   bigint   NOT NULL CHECK (row_version >= 1),
    expires_at    bigint,
    metadata      text,
    created_at    bigint   NOT NULL,
    updated_at    bigint   NOT NULL,
    deleted_at    bigint,
    destroy_after bigint,
    CHECK ((deleted_at IS NULL) = (destroy_after IS NULL))
);
CREATE INDEX cards_listed ON cards (tenant, created_at);
CREATE INDEX cards_expiring ON cards (expires_at) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX cards_condemned ON cards (destroy_after) WHERE destroy_after IS NOT NULL AND octet_length(record) > 0;

-- Keyed fingerprints of numbers, for tenants that deduplicate: one token for each.
CREATE TABLE fingerprints (
    tenant      text  COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    token_hash  bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    PRIMARY KEY (tenant, fingerprint)
);
CREATE INDEX fingerprints_of_card ON fingerprints (token_hash);

-- Other names that lead to a card's token. The MAC covers the whole row.
CREATE TABLE aliases (
    alias_hash bytea  PRIMARY KEY CHECK (octet_length(alias_hash) = 32),
    tenant     text   COLLATE "C" NOT NULL,
    kind       text   NOT NULL CHECK (kind IN ('pan_shaped', 'foreign')),
    alias      text   NOT NULL,
    token_hash bytea  NOT NULL CHECK (octet_length(token_hash) = 32),
    mac        bytea  NOT NULL CHECK (octet_length(mac) = 32),
    created_at bigint NOT NULL
);
CREATE INDEX aliases_of_card ON aliases (token_hash);

-- Answers to give again. `scope` is SHA-256 of caller, tenant and key; `digest` is keyed.
CREATE TABLE idempotency_keys (
    scope      bytea   PRIMARY KEY CHECK (octet_length(scope) = 32),
    digest     bytea   NOT NULL CHECK (octet_length(digest) = 32),
    status     integer NOT NULL CHECK (status BETWEEN 200 AND 599),
    answer     bytea   NOT NULL,
    expires_at bigint  NOT NULL
);
CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at);

-- Forwards: permitted uses of card data. `cards` is a JSON array of token references, `outcome` JSON as the proxy told.
CREATE TABLE forwards (
    id         uuid   PRIMARY KEY,
    tenant     text   COLLATE "C" NOT NULL,
    proxy      text   NOT NULL,
    caller     text   NOT NULL,
    route      text   NOT NULL,
    account    text   NOT NULL,
    method     text   NOT NULL,
    path       text   NOT NULL,
    host       text   NOT NULL,
    cards      text   NOT NULL,
    attributes text   NOT NULL,
    state      text   NOT NULL CHECK (state IN ('open', 'answered', 'not-sent', 'unknown')),
    opened_at  bigint NOT NULL,
    closed_at  bigint,
    outcome    text,
    CHECK ((state = 'open') = (closed_at IS NULL))
);
CREATE INDEX forwards_open ON forwards (opened_at) WHERE state = 'open';

-- One row for each start of each instance. `next_seq` is the number of its entries; it moves in the transaction that
-- writes them, so it also serializes what one instance writes.
CREATE TABLE audit_boots (
    boot_id    uuid   PRIMARY KEY,
    instance   text   COLLATE "C" NOT NULL,
    mac_key    uuid   NOT NULL,
    started_at bigint NOT NULL,
    written_at bigint NOT NULL,
    next_seq   bigint NOT NULL CHECK (next_seq >= 0)
) WITH (fillfactor = 50);

-- Audit entries: the exact bytes, RFC 8785 JSON in UTF-8. Never updated.
CREATE TABLE audit_entries (
    boot_id      uuid   NOT NULL,
    instance_seq bigint NOT NULL CHECK (instance_seq >= 0),
    leaf         bytea  NOT NULL,
    PRIMARY KEY (boot_id, instance_seq)
);
