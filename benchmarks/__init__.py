"""Measurements beside other frameworks, each run in a process and an environment of its own."""
