"""Passwords and tokens taken out of what is written for people: sentences, logs, records. Imports nothing of ours."""

import os
import re

_IN_TEXT = (
    (re.compile(r"(?<=://)[^/\s@'\"]+(?=@)"), "***"),  # user:password@host
    (re.compile(r"(?i)([?&][\w-]*(?:token|key|secret|password|signature|sig)=)[^&\s'\"]+"), r"\1***"),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/-]{8,}=*"), r"\1***"),
    (re.compile(r"\bhf_[A-Za-z0-9]{20,}"), "hf_***"),
)
_NAMES_A_SECRET = re.compile(r"(?i)token$|password$|secret$|_key$|passwd$")
_SHORTEST = 8  # a shorter value of a variable is likelier to be a word of the text


def without_secrets(text: str) -> str:
    """The text with *** for passwords and tokens in addresses, for hub tokens, and for values of variables such as WANDB_API_KEY."""
    for pattern, mask in _IN_TEXT:
        text = pattern.sub(mask, text)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _NAMES_A_SECRET.search(name):
            text = text.replace(value, "***")
    return text
