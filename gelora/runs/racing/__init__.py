"""Races: arms on one frozen model, trained side by side, from the first step to a result and one arm as an adapter."""
