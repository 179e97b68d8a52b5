"""Teaching mode: the tour of six steps."""
