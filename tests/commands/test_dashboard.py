"""launch.py dashboard: a run's journal in optuna-dashboard, which can write, and here cannot."""

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

import launch
from aae.runs import JOURNAL
from aae.tuning.commands.dashboard import PACKAGE, REFUSAL, ReadOnlyJournal, reading_alone
from aae.tuning.study.journal import open_study, read_trials
from tests.sweeping import PROJECT, command

# In place of the package: how many trials the storage has, and an attempt to delete the study on a GET.
FAKE = """
def wsgi(storage):
    def app(environ, start_response):
        (study,) = storage.get_all_studies()
        if environ["PATH_INFO"] == "/delete":
            try:
                storage.delete_study(study._study_id)
            except PermissionError as error:
                start_response("500 refused", [])
                return [str(error).encode()]
        start_response("200 OK", [])
        return [str(len(storage.get_all_trials(study._study_id))).encode()]
    return app
"""


@pytest.fixture
def run(tmp_path) -> Path:
    """A run folder with a trial that was pruned after two epochs."""
    study, _ = open_study(tmp_path, "s")
    add_pruned(study)
    return tmp_path


def add_pruned(study) -> None:
    trial = study.ask()
    for epoch, value in ((1, 0.5), (2, 0.4)):
        trial.report(value, epoch)
    study.tell(trial, state=TrialState.PRUNED)


def digest(run: Path) -> str:
    return hashlib.sha256((run / JOURNAL).read_bytes()).hexdigest()


WRITES = {
    "delete a study": lambda storage, study, trial: storage.delete_study(study),
    "create a study": lambda storage, study, trial: storage.create_new_study([1], "other"),
    "a note on a study": lambda storage, study, trial: storage.set_study_system_attr(study, "dashboard:note_ver", 1),
    "a note on a trial": lambda storage, study, trial: storage.set_trial_system_attr(trial, "dashboard:note_ver", 1),
    "an attribute": lambda storage, study, trial: storage.set_trial_user_attr(trial, "a", 1),
    "ask": lambda storage, study, trial: storage.create_new_trial(study),
    "tell": lambda storage, study, trial: storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.1]),
}


@pytest.mark.parametrize("write", WRITES)
def test_the_storage_refuses_to_write_and_the_journal_stays_as_it_is(write, tmp_path):
    """Of a running trial, which Optuna itself lets be written."""
    study, _ = open_study(tmp_path, "s")
    study.ask()
    before = digest(tmp_path)
    storage = JournalStorage(ReadOnlyJournal(tmp_path / JOURNAL))
    (own,) = storage.get_all_studies()
    with pytest.raises(PermissionError, match="only reads"):
        WRITES[write](storage, own._study_id, 0)
    assert digest(tmp_path) == before and len(storage.get_all_trials(own._study_id)) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / JOURNAL]  # no lock either


def test_the_storage_follows_the_driver_and_has_a_pruned_trials_values(run):
    storage = JournalStorage(ReadOnlyJournal(run / JOURNAL))
    assert storage.get_trial(0).value == 0.4 and storage.get_trial(0).intermediate_values == {1: 0.5, 2: 0.4}
    add_pruned(open_study(run, "s")[0])
    assert len(storage.get_all_trials(0)) == 2


def test_a_line_that_is_not_whole_yet_is_read_when_it_is(run):
    storage = JournalStorage(ReadOnlyJournal(run / JOURNAL))
    open_study(run, "s")[0].ask()
    content = (run / JOURNAL).read_bytes()
    cut = content.rstrip(b"\n").rindex(b"\n") + 9  # in the middle of the last line
    (run / JOURNAL).write_bytes(content[:cut])
    number = len(storage.get_all_trials(0))
    (run / JOURNAL).write_bytes(content)
    assert (number, len(storage.get_all_trials(0))) == (1, 2)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_request_that_would_change_something_does_not_reach_the_dashboard(method):
    said = []
    app = reading_alone(lambda environ, start_response: pytest.fail("it was reached"))
    (body,) = app({"REQUEST_METHOD": method}, lambda status, headers: said.append(status))
    assert said == ["403 Forbidden"] and json.loads(body) == {"reason": REFUSAL}
    assert reading_alone(lambda environ, start_response: [b"yes"])({"REQUEST_METHOD": "GET"}, print) == [b"yes"]


@contextlib.contextmanager
def served(run: Path, packages: str) -> Iterator[str]:
    """The address of a dashboard that is ended by Ctrl-C, and must end with 0."""
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{packages}"}
    process = subprocess.Popen(command("dashboard", str(run), "--port", "0"), stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None and "it only reads" in line
        yield found.group(0)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def ask(address: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_is_served_while_the_driver_writes_and_ends_with_ctrl_c(run, tmp_path_factory):
    packages = tmp_path_factory.mktemp("packages")
    (packages / "optuna_dashboard.py").write_text(FAKE)
    with served(run, str(packages)) as address:
        assert ask(address) == (200, "1")
        add_pruned(open_study(run, "s")[0])
        before = digest(run)
        assert ask(address) == (200, "2")
        assert ask(f"{address}/delete") == (500, REFUSAL)
        assert ask(address, "DELETE") == (403, json.dumps({"reason": REFUSAL}))
        assert ask(address) == (200, "2") and digest(run) == before


def test_the_real_one_lists_the_trials_and_deletes_nothing(run):
    real = Path(pytest.importorskip("optuna_dashboard").__file__).parents[1]
    before = digest(run)
    with served(run, str(real)) as address:
        status, body = ask(f"{address}/api/studies/0")
        (trial,) = json.loads(body)["trials"]
        assert (status, trial["state"], trial["values"]) == (200, "Pruned", [0.4])
        assert ask(f"{address}/api/studies/0", "DELETE")[0] == 403
        assert ask(f"{address}/api/studies/0/note", "PUT")[0] == 403
    assert digest(run) == before and len(read_trials(run)) == 1


def test_without_the_package_a_line_says_how_to_install_it(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert launch.main(["dashboard", str(run)]) == 2
    assert capsys.readouterr().err == f"launch.py: optuna-dashboard: not installed; {sys.executable} -m pip install {PACKAGE}\n"
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["dashboard"] == [PACKAGE]


@pytest.mark.parametrize("port", ["taken", "70000"])
def test_a_port_that_cannot_be_served_is_refused_in_a_line(port, run, tmp_path_factory, monkeypatch, capsys):
    packages = tmp_path_factory.mktemp("packages")
    (packages / "optuna_dashboard.py").write_text(FAKE)
    monkeypatch.syspath_prepend(packages)
    monkeypatch.delitem(sys.modules, "optuna_dashboard", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = str(other.getsockname()[1]) if port == "taken" else port
        assert launch.main(["dashboard", str(run), "--port", number]) == 2
    monkeypatch.delitem(sys.modules, "optuna_dashboard", raising=False)
    said = capsys.readouterr().err
    assert said.startswith(f"launch.py: --port: got {number}, which cannot be served") and said.count("\n") == 1


def test_a_folder_without_a_journal_is_refused(tmp_path, capsys):
    assert launch.main(["dashboard", str(tmp_path)]) == 2
    assert "holds no study.journal; give the folder of a sweep" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
