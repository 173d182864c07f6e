"""The session, the runner and what carries a run from start to end."""
