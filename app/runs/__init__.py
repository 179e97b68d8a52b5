"""The Runs page: all runs, compared."""
