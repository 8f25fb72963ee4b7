"""Everything of training that is not Ray."""
