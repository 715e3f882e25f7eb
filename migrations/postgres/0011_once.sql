-- Why a forward was opened (JSON: who, by which rule), and what was found out when its outcome was unknown (JSON).
ALTER TABLE forwards ADD COLUMN grounds text;
ALTER TABLE forwards ADD COLUMN reconciled text;

-- Merchants' payment references, keyed with a key of the tenant's own, of calls that are let through once. A row is written
-- in the transaction that opens its forward, for those calls alone. A forward that is `not-sent` gives its row up to the next.
CREATE TABLE payment_references (
    tenant    text   COLLATE "C" NOT NULL,
    route     text   COLLATE "C" NOT NULL,
    account   text   COLLATE "C" NOT NULL,
    reference bytea  NOT NULL CHECK (octet_length(reference) = 32),
    mac_key   uuid   NOT NULL,
    forward   uuid   NOT NULL,
    taken_at  bigint NOT NULL,
    PRIMARY KEY (tenant, route, account, reference)
);
