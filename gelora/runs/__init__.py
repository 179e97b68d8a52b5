"""The runs wing."""
