"""Policies: from observations to actions. They know nothing of learning."""
