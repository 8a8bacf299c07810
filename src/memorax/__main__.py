"""`python -m memorax` is `memorax`."""

import sys

from memorax.cli import main

if __name__ == "__main__":
    sys.exit(main())
