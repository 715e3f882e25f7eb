-- The signed log: a Merkle tree (RFC 6962) over the audit entries, in the order they were taken into it.
-- Nothing here is written by a request: one sequencer at a time extends the tree, twice a second.

-- One row: the tree's size and root, the data key its signing key derives from, and who may extend it until when.
-- `fence` rises with every holder; each extension names it, so that a holder that slept too long changes nothing.
CREATE TABLE log_head (
    id          integer PRIMARY KEY CHECK (id = 1),
    size        bigint  NOT NULL CHECK (size >= 0),
    root        bytea   NOT NULL CHECK (octet_length(root) = 32),
    signer      uuid,
    holder      uuid,
    fence       bigint  NOT NULL CHECK (fence >= 0),
    lease_until bigint  NOT NULL
);
INSERT INTO log_head VALUES (1, 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', NULL, NULL, 0, 0);

-- Which entries stand where: `entries` of one boot from `first_seq` on, at `first_index` and after.
CREATE TABLE log_runs (
    first_index bigint PRIMARY KEY CHECK (first_index >= 0),
    boot_id     uuid   NOT NULL,
    first_seq   bigint NOT NULL CHECK (first_seq >= 0),
    entries     bigint NOT NULL CHECK (entries >= 1)
);
-- Receipts look an entry's place up by it.
CREATE UNIQUE INDEX log_runs_of_boot ON log_runs (boot_id, first_seq);

-- How far each boot is in the tree.
CREATE TABLE log_boots (
    boot_id  uuid   PRIMARY KEY,
    next_seq bigint NOT NULL CHECK (next_seq >= 0)
);

-- Tiles of up to 256 hashes (C2SP tlog-tiles). The last one of each level grows; nothing else changes.
CREATE TABLE log_tiles (
    level  integer NOT NULL CHECK (level BETWEEN 0 AND 7),
    number bigint  NOT NULL CHECK (number >= 0),
    hashes bytea   NOT NULL,
    PRIMARY KEY (level, number)
);

-- Signed checkpoints.
CREATE TABLE log_checkpoints (
    size      bigint PRIMARY KEY CHECK (size >= 0),
    note      text   NOT NULL,
    signed_at bigint NOT NULL
);
