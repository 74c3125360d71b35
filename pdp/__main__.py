"""`python -m pdp` is the command `pdp`."""

from pdp.cli.main import main

main()
