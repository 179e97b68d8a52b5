"""The ranks wing."""
