"""Many sessions: what starts them, where they run, and what is left to do of them."""
