"""``python -m jabba``."""

from jabba.cli import main

main()
