"""The geometry wing."""
