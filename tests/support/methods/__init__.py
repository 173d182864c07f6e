"""Parameter files with methods of a user's own: what one that differs by its loss costs."""
