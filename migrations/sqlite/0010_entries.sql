-- Audit entries in a table with row ids. Without them a row lives in an index page, which keeps 1,002 bytes of it in place: an
-- entry of a new card is longer, and each took an overflow page of 4,096 bytes for its last few (4,681 bytes an entry, now 1,401).
-- Copied once, in the order of the key, in one transaction; the old pages are overwritten with zeros. A log of 1,000,000 entries needs
-- some 7 GB free on disk meanwhile. Nothing else can write: stop the vault first, and keep a copy of the file.
ALTER TABLE audit_entries RENAME TO audit_entries_before;
CREATE TABLE audit_entries (
    boot_id      blob    NOT NULL,
    instance_seq integer NOT NULL CHECK (instance_seq >= 0),
    leaf         blob    NOT NULL,
    PRIMARY KEY (boot_id, instance_seq)
) STRICT;
INSERT INTO audit_entries (boot_id, instance_seq, leaf)
    SELECT boot_id, instance_seq, leaf FROM audit_entries_before ORDER BY boot_id, instance_seq;
DROP TABLE audit_entries_before;
