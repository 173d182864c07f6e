"""Makes environments."""
