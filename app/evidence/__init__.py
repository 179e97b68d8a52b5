"""The Evidence page: what races of a study found, against an even spread of ranks."""
