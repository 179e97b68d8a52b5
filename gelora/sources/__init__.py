"""The sources wing."""
