"""What several pages draw with and ask: parts of no page in particular."""
