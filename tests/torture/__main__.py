"""The entry of `./run torture`."""

import sys

from tests.torture.harness import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
