"""The Fine-tune page: the form of a new run, and a run while it trains."""
