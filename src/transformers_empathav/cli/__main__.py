"""`python -m transformers_empathav.cli`, the same as `empathav`."""

from . import main


main()
