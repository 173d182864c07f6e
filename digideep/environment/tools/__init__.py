"""Looks at one environment."""
