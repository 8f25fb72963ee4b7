"""Cleaning of wrong labels: whose photo each one is, which photos go on, and why."""
