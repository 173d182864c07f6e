"""Parameter files: one per method and family of tasks."""
