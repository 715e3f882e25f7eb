-- Pages of a tenant's cards, newest first (`GET /v1/tenants/{tenant}/cards`): cards_page is read by every page, cards_by_last4
-- by those that ask for last four digits. Both leave hidden cards out, so an erased card leaves them with its row; deleted_at
-- stands in them so that both databases find the end of a page without reading a row.
CREATE INDEX cards_page ON cards (tenant, created_at, token_hash, deleted_at) WHERE deleted_at IS NULL;
CREATE INDEX cards_by_last4 ON cards (tenant, last4, created_at, token_hash, deleted_at) WHERE deleted_at IS NULL AND last4 <> '';
-- Nothing ever read by this one, and every new card paid for it.
DROP INDEX cards_listed;
