"""What the commands' parsers share."""

from __future__ import annotations

import argparse
import textwrap

USAGE = """\
  python launch.py sweeps/quick.yaml                          run a sweep, or go on with an interrupted one
  python launch.py sweeps/semi.yaml train.epochs=20           the same with paths of study: or trial: set
  python launch.py sweeps/semi.yaml --plan                    what would run, three sampled trials, a forecast
  python launch.py status runs/quick                          where it stands, from another terminal
  python launch.py confirm runs/quick study.confirm=...       the winner, on fresh draws: docs/confirm.md
  python launch.py reproduce runs/quick [--trial N]           train the best trial (or N) again and compare
  python launch.py replay runs/NAME                           which sampler, rungs and budget would have found how much
  python launch.py dashboard runs/quick                       optuna-dashboard over it, in a browser; it only reads
  python launch.py schema                                     the JSON Schema of a sweep file, for editors
  python launch.py cluster check|down FILE                    check a Ray cluster, or end it: docs/cluster.md
"""
ACCEPT = "go on although the code or versions that trials depend on have changed since; the trials then carry which code made them"


def command_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Of a command, with its own lines of USAGE; without a name that of a sweep, with all of them."""
    prog, kept = f"python launch.py {name}".rstrip(), argparse.RawDescriptionHelpFormatter
    own = [line for line in USAGE.splitlines() if prog in line]
    text = "\n".join(textwrap.wrap(description, 120))
    return argparse.ArgumentParser(prog=prog, description=text, epilog="\n".join(own), formatter_class=kept)


def add_overrides(options: argparse.ArgumentParser, metavar: str, what: str) -> None:
    options.add_argument("overrides", nargs="*", default=[], metavar=metavar, help=what)  # without a default it would be named as required
