"""`python -m gelora` is the command line."""

import sys

from gelora.cli import main

if __name__ == "__main__":
    sys.exit(main())
