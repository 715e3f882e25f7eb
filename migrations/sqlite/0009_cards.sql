-- The version of the row with which the card's present number came; null stands for 1. A verification code belongs to one
-- number, so that none is ever sent with another. Written when a card is given a new number under its token.
ALTER TABLE cards ADD COLUMN number_version integer CHECK (number_version >= 1);
