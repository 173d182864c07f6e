"""What was experienced, and how batches are drawn from it."""
