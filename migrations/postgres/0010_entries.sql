-- Nothing to do: PostgreSQL keeps audit entries in a heap. SQLite's table changes its form with this version, and both stores
-- count the same versions.
SELECT 1;
