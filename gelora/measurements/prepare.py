"""What a fresh machine needs once, made in a process of its own while the page is already usable: `python -m gelora.measurements.prepare`.

Reads the bundled sentences, then makes the run store. Both are kept on disk; when they are there it ends at once.
"""

import sys

from gelora.errors import GeloraError
from gelora.runs import ensure_store
from gelora.sources import BUNDLED_DATASET, load_sample


def main() -> int:
    """Prepare both; an error is a line in the server's log, and whoever needs the thing meets it again."""
    try:
        load_sample(BUNDLED_DATASET, n_samples=2)
        ensure_store()
    except GeloraError as error:
        sys.stderr.write(f"Preparing: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
