"""`python -m conduit_nb` is the program `conduit`."""

import sys

from conduit_nb.cli import main

sys.exit(main())
