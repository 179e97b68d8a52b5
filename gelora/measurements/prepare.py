"""What a fresh machine needs once, made in a process of its own while the page is already usable: `python -m gelora.measurements.prepare`.

Reads the bundled sentences, which are then kept on disk; when they are there it ends at once.
"""

import sys

from gelora.errors import GeloraError
from gelora.sources import BUNDLED_DATASET, load_sample


def main() -> int:
    """Prepare them; an error is a line in the server's log, and is raised again where they are used."""
    try:
        load_sample(BUNDLED_DATASET, n_samples=2)
    except GeloraError as error:
        sys.stderr.write(f"Preparing: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
