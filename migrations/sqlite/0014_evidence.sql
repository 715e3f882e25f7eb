-- What is filed beside the log: reviews that people signed, and of each evidence bundle what the next one is compared with. The log
-- names each by its hash, so a row that is changed or removed shows; rows are added and never changed.

-- A review: what was signed, the signature, and the certificate whose key made it.
CREATE TABLE reviews (
    kind        text    NOT NULL CHECK (kind IN ('access', 'log')),
    number      integer NOT NULL CHECK (number >= 1),
    sha256      blob    NOT NULL CHECK (length(sha256) = 32),
    record      text    NOT NULL,
    signature   blob    NOT NULL,
    certificate blob    NOT NULL,
    reviewed_at integer NOT NULL,
    PRIMARY KEY (kind, number)
) STRICT, WITHOUT ROWID;

-- A bundle: its signed manifest, and its access matrix.
CREATE TABLE evidence_bundles (
    sha256   blob    NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
    made_at  integer NOT NULL,
    manifest text    NOT NULL,
    access   text    NOT NULL
) STRICT;
