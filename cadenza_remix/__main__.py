"""``python -m cadenza_remix`` is the command ``cadenza-remix``."""

from cadenza_remix.cli import main

main()
