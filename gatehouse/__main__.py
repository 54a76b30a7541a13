"""Lets `python -m gatehouse` stand for the `gatehouse` command."""

import sys

from gatehouse.cli import main

sys.exit(main())
