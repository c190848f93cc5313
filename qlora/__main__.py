"""`python -m qlora`: the command line."""

import sys

from qlora.cli import main

sys.exit(main())
