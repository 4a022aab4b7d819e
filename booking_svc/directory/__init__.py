"""What a clinic sets up: one description an entity, and use cases that serve all of them."""
