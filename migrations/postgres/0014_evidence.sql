-- What is filed beside the log: reviews that people signed, and of each evidence bundle what the next one is compared with. The log
-- names each by its hash, so a row that is changed or removed shows; rows are added and never changed.

-- A review: what was signed, the signature, and the certificate whose key made it.
CREATE TABLE reviews (
    kind        text   NOT NULL CHECK (kind IN ('access', 'log')),
    number      bigint NOT NULL CHECK (number >= 1),
    sha256      bytea  NOT NULL CHECK (octet_length(sha256) = 32),
    record      text   NOT NULL,
    signature   bytea  NOT NULL,
    certificate bytea  NOT NULL,
    reviewed_at bigint NOT NULL,
    PRIMARY KEY (kind, number)
);

-- A bundle: its signed manifest, and its access matrix.
CREATE TABLE evidence_bundles (
    sha256   bytea  PRIMARY KEY CHECK (octet_length(sha256) = 32),
    made_at  bigint NOT NULL,
    manifest text   NOT NULL,
    access   text   NOT NULL
);
