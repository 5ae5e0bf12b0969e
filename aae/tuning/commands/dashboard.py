"""`launch.py dashboard RUN`: optuna-dashboard over a run's journal, on this machine alone. It reads, and writes nothing.

optuna-dashboard can delete a study, write notes and tell trials. The driver alone may write a journal, so two things keep the dashboard
from it: the storage that it is given refuses to append, and the server answers GET alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rich.console import Console

from aae.errors import ConfigError
from aae.tuning.commands.arguments import command_parser

HOST = "127.0.0.1"
PACKAGE = "optuna-dashboard==0.21.0"
REFUSAL = "this dashboard only reads: the sweep's driver alone writes its journal"
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("dashboard", "optuna-dashboard over a run's journal, on 127.0.0.1. It only reads, also while the sweep runs.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick, or a confirmation's, runs/quick/confirm")
    options.add_argument("--port", type=int, default=8080, help="where it is served (default: 8080; 0: any that is free)")
    given = options.parse_args(arguments)

    from aae.runs import JOURNAL
    from aae.tuning.study.journal import read_study

    read_study(given.run)  # Raises ConfigError where there is none
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        if error.name not in ("optuna_dashboard", "bottle"):
            raise
        raise ConfigError(f"optuna-dashboard: not installed; {sys.executable} -m pip install {PACKAGE}") from None
    from optuna.storages import JournalStorage

    app = reading_alone(wsgi(JournalStorage(ReadOnlyJournal(given.run / JOURNAL))))
    try:
        server = make_server(HOST, given.port, app, Server, Quiet)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port: got {given.port}, which cannot be served ({error}); give another, or 0 for any that is free") from None
    with server:
        console.print(f"{given.run} at http://{HOST}:{server.server_port}/dashboard; it only reads; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


class ReadOnlyJournal:
    """A journal as it grows, for a storage that may not write."""

    def __init__(self, path: Path):
        from optuna.storages.journal import JournalFileBackend

        self.backend = JournalFileBackend(str(path))  # knows where it has read to, and leaves a line alone until it is whole

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        logs: Iterator[dict[str, Any]] = self.backend.read_logs(log_number_from)
        return logs

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise PermissionError(REFUSAL)


def reading_alone(app: App) -> App:
    """The same application, but for requests that would change something: those get 403 and the reason."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": REFUSAL}).encode()]

    return answer


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser keeps connections open on which it says nothing


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
