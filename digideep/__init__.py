"""Digideep: train deep reinforcement-learning agents from parameter files, and resume them exactly."""

__version__ = "1.0.0.dev0"
