"""`python -m spgvton`, and so `torchrun -m spgvton train ...`."""

import sys

from spgvton.cli import main

if __name__ == "__main__":
    sys.exit(main())
