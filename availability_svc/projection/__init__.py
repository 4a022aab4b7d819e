"""How events reach the projections."""
