-- Names that lead to cards: keyed fingerprints on the cards themselves, and the keys of aliases' MACs.
--
-- `cards.fingerprint` is written for tenants that deduplicate or ask for fingerprints, and is null again once a card is
-- hidden. Cards that were there before have none. `fingerprints` keeps which one card a number leads to.

ALTER TABLE cards ADD COLUMN fingerprint bytea CHECK (octet_length(fingerprint) = 32);
-- Read by MatchFingerprint. Costs nothing where there is no fingerprint.
CREATE INDEX cards_alike ON cards (tenant, fingerprint) WHERE fingerprint IS NOT NULL;

-- The data key of an alias's MAC. Nothing wrote aliases before.
ALTER TABLE aliases ADD COLUMN mac_key uuid;
