"""Cleaning of wrong labels: whose photo is this, which photos go on, and why."""
