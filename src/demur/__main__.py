"""`python -m demur` is the `demur` command."""

import sys

from demur.cli.main import main

sys.exit(main())
