"""``python -m engine COMMAND``: the command line (:mod:`engine.cli.main`)."""

import sys

from engine.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
