"""`launch.py schema`: the JSON Schema of a sweep file, for editors."""

from __future__ import annotations

import sys

from rich.console import Console

from aae.streams import require_written
from aae.tuning.commands.arguments import command_parser


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("schema", "Print the JSON Schema of a sweep file, which editors complete and check by: sweeps/schema.json.")
    options.parse_args(arguments)

    from aae.tuning.spec.schema import schema_text

    sys.stdout.write(schema_text())
    require_written()
    return 0
