"""Poolings and treatments of attention sinks in words.

Draws nothing.
"""

from gelora.records import default_sinks

POOLING_WORDS = {
    "mean": "mean of all tokens",
    "cls": "first token",
    "last": "last token",
    "tokens": "single tokens",
}
SINK_WORDS = {"drop": "left out", "keep": "kept", "unit": "length 1"}


def sink_words(sinks: str, pooling: str) -> str:
    """What is done about sinks; an empty choice is the pooling's default."""
    sinks = sinks or default_sinks(pooling)
    return "token before" if (sinks, pooling) == ("drop", "last") else SINK_WORDS[sinks]
