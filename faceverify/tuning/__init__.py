"""Hyper-parameter search without Ray: what is searched, which values come next, who is stopped, what came of it."""
