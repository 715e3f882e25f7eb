-- At whose word a card is hidden: a caller's identity, `expired` or `retention`. Read where cards are shown again.
ALTER TABLE cards ADD COLUMN hidden_by text COLLATE "C";
