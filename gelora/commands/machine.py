"""`gelora doctor`: what is on this machine."""

import argparse
import dataclasses
import json

from gelora.terminal import print_table


def doctor(options: argparse.Namespace) -> int:
    """Say what is on this machine."""
    from gelora.doctor import examine

    findings = examine()
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        print_table("This machine", ["", "what", "finding"], [["ok" if f.ok else "!!", f.what, f.finding] for f in findings])
    return 0 if all(f.ok for f in findings) else 1
