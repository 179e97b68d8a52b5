"""The Theory page: a card a file."""
