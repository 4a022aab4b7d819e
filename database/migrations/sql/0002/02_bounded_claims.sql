-- Nothing lasts longer than a day with a day's buffer on each side. Readers of a stretch rely on it: they look no
-- further back than that for a claim that reaches into it.
ALTER TABLE claim ADD CONSTRAINT claim_bounded CHECK (ends_at - starts_at <= interval '72 hours') NOT VALID;
ALTER TABLE claim VALIDATE CONSTRAINT claim_bounded;
