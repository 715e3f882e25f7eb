-- The version of the row with which the card's present number came; null stands for 1. A verification code belongs to one
-- number, so that none is ever sent with another. Written when a card is given a new number under its token.
ALTER TABLE cards ADD COLUMN number_version bigint CHECK (number_version >= 1);
-- When the card's issuer was said to have closed it. A fact for whoever reads the card; forwards do not ask.
ALTER TABLE cards ADD COLUMN closed_at bigint;
