"""`python -m pdp` is the command `pdp`."""

import sys

from pdp.cli.main import main

sys.exit(main())
