"""Environments, their workers and the Explorer. numpy only: no torch, no learning."""
