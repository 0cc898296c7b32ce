"""`python -m minivit` is `minivit`."""

import sys

from minivit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
