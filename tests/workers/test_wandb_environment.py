"""What the environment says to W&B: nobody is asked for a key, nothing that W&B would refuse is found out late, every trial has a run of
its own, and what W&B does to a worker is said by the driver."""

import io
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from aae.config import ConfigError
from aae.runs import TrialFolder, trial_folder
from aae.tuning.driver.console import SweepConsole
from aae.tuning.workers import wandb_environment as environment
from aae.tuning.workers import wandb_runs
from aae.tuning.workers.wandb_environment import choose_mode, describe_study
from aae.tuning.workers.wandb_runs import Tracker, follow_study
from tests.sweeping import PROJECT
from tests.wandb_files import CLOSED, KEY, end, inspect, only, row


def about(run: Path, baselines: list[str], say=print) -> dict:
    return describe_study("digits", "abc", run, "val/error", baselines, say)


def track(run: Path, number: int, study: dict) -> None:
    attempt = trial_folder(run, number).next_attempt()
    tracker = Tracker(study, f"{number:04d}", {}, attempt)
    tracker.log(attempt.write_row(row(1)))
    end(tracker, "COMPLETE")


# ---- a key ----


@pytest.mark.parametrize("word", ["online", "run", "Online"])
def test_online_without_a_key_is_offline_and_said_once(monkeypatch, tmp_path, word):
    monkeypatch.setenv("WANDB_MODE", word)
    said: list[str] = []
    for _ in range(2):  # a search, and its confirmation
        assert about(tmp_path, [], said.append)["wandb_mode"] == "offline"
    (line,) = said
    assert "there is no key" in line and "wandb login" in line


@pytest.mark.parametrize("machine", environment.HOSTS)
@pytest.mark.parametrize("base", [None, *(f"https://{host}" for host in environment.HOSTS)])
def test_a_key_of_the_public_service_counts_under_either_of_its_names(tmp_path, monkeypatch, machine, base):
    (tmp_path / "netrc").write_text(f"machine {machine} login user password {KEY}\n")
    if base:
        monkeypatch.setenv("WANDB_BASE_URL", base)
    assert choose_mode(print) == "online"


def test_a_key_in_the_home_folder_counts_though_others_may_read_it(tmp_path, monkeypatch):
    """As W&B reads it; Python refuses its own default file then. One that is no UTF-8 is no key."""
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".netrc"
    own.write_text(f"machine api.wandb.ai login user password {KEY}\n")
    own.chmod(0o644)
    assert choose_mode(print) == "online"
    own.write_bytes(b"machine \xe9 login a password b\n")
    assert choose_mode(print) == "offline"


@pytest.mark.parametrize(("machine", "mode"), [("wandb.example:8080", "online"), ("wandb.example", "offline")])
def test_a_key_counts_for_its_port_as_it_does_for_wandb(tmp_path, monkeypatch, machine, mode):
    """Fails where the port is left out: W&B then finds no key, and asks for one."""
    (tmp_path / "netrc").write_text(f"machine {machine} login user password {KEY}\n")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example:8080/x")
    assert choose_mode(print) == mode


def test_a_key_in_a_file_of_wandbs_own_counts_where_online_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "settings").write_text("[default]\nbase_url = https://wandb.example\n")
    (tmp_path / "netrc").write_text(f"machine wandb.example login user password {KEY}\n")
    monkeypatch.setenv("WANDB_MODE", "online")
    assert choose_mode(print) == "online"


@pytest.mark.parametrize("command", ["disabled", "offline"])
def test_wandbs_own_switch_is_followed_where_wandb_mode_is_not_set(tmp_path, monkeypatch, command):
    """`wandb disabled` and `wandb offline` leave it in ./wandb/settings. Seen to fail with every run uploaded, since there is a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_mode(print) == "online"
    subprocess.run([str(Path(sys.executable).with_name("wandb")), command], check=True, capture_output=True)
    assert choose_mode(print) == command
    monkeypatch.setenv("WANDB_MODE", "online")
    assert choose_mode(print) == "online"


def test_wandbs_switch_for_all_folders_is_followed_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "settings").write_text("[default]\nmode = offline\n")
    assert choose_mode(print) == "offline"


ASKS = """
import sys
from pathlib import Path
from aae.tuning.workers import wandb_runs
wandb_runs.INIT_TIMEOUT_S = 5.0
run = Path(sys.argv[1])
study = {"name": "d", "id": "abc", "run": str(run), "wandb_mode": "online", "environment": {}, "baselines": {}, "metric": "val/error"}
wandb_runs.follow_study(study, list, print)([])
print("ended", flush=True)
"""


def test_in_a_terminal_nobody_is_asked_for_a_key(tmp_path):
    """Even where the mode is online and the key is gone. Fails without never_ask: W&B then waits for a choice."""
    screen, terminal = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while chunk := os.read(screen, 4096):
            shown.extend(chunk)

    environ = os.environ | {"PYTHONPATH": str(PROJECT), "WANDB_BASE_URL": CLOSED, "HOME": str(tmp_path), "TERM": "xterm"}
    command = [sys.executable, "-c", ASKS, str(tmp_path / "digits")]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environ, start_new_session=True)
    threading.Thread(target=read, daemon=True).start()
    try:
        assert process.wait(60) == 0, shown.decode()
    finally:
        process.kill()
    text = shown.decode()
    assert "ended" in text and "choice" not in text and "API key" not in text.replace("No API key configured", ""), text
    assert len(list(tmp_path.glob("digits/wandb/offline-run-*"))) == 1


# ---- names that W&B refuses ----


def test_wandb_refuses_the_same_names_as_we_do_and_has_the_service_that_we_know():
    import wandb

    assert urlsplit(wandb.Settings().base_url).netloc in environment.HOSTS
    for name in ("plain", "with space", "x" * 128, "x" * 129, *(f"a{character}b" for character in "/\\#?%:-_.,;@+&=()[]é")):
        assert unfit("WANDB_PROJECT", name) == refused(wandb, project=name), name
    for tag in ("plain", "x" * 64, "x" * 65):
        assert unfit("WANDB_TAGS", tag) == refused(wandb, run_tags=(tag,)), tag


def unfit(variable: str, value: str) -> bool:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(variable, value)
        try:
            environment.refuse_unfit_names()
        except ConfigError:
            return True
    return False


def refused(wandb, **settings) -> bool:
    try:
        wandb.Settings(**settings)
    except (ValueError, wandb.Error):  # pydantic's is a ValueError
        return True
    return False


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WANDB_PROJECT", "team/autoencoders", "WANDB_ENTITY=team and WANDB_PROJECT=autoencoders"),
        ("WANDB_PROJECT", "a#b", "give another"),
        ("WANDB_PROJECT", "x" * 129, "give another: .* at most 128"),
        ("WANDB_TAGS", f"night,{'x' * 65}", "at most 64"),
    ],
)
def test_a_name_that_wandb_would_refuse_is_refused_before_the_first_trial_unless_it_is_off(tmp_path, monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"^{variable}: got .*{says}"):
        about(tmp_path, [])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert about(tmp_path, [])["wandb_mode"] == "disabled"


def test_a_baseline_of_a_long_name_has_its_run_and_empty_tags_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_TAGS", "night,, ,")
    track(tmp_path, 0, about(tmp_path, ["b" * 80]))
    assert set(only(inspect(tmp_path, "abc-0000"), "run")["tags"]) == {"trial 0000", "b" * 64, "night"}
    assert trial_folder(tmp_path, 0).warnings() == []


# ---- a job around the sweep ----


def test_ids_and_names_of_a_job_around_it_are_taken_out_and_said_and_group_and_tags_stay(tmp_path, monkeypatch):
    for name, value in {"RUN_ID": "leftover", "RESUME": "must", "NAME": "leftover", "SWEEP_ID": "s", "FORK_FROM": "x?_step=1"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_RUN_GROUP", "night")
    monkeypatch.setenv("WANDB_TAGS", "mine")
    said: list[str] = []
    study = about(tmp_path, [], said.append)
    (line,) = said
    assert all(f"WANDB_{name}" in line for name in ("RUN_ID", "RESUME", "NAME", "SWEEP_ID", "FORK_FROM"))
    monkeypatch.setenv("WANDB_RUN_ID", "of a node")  # where Ray was started before
    monkeypatch.setenv("WANDB_SWEEP_ID", "of a node")
    for number in (0, 1):
        track(tmp_path, number, study)
        described = only(inspect(tmp_path, f"abc-{number:04d}"), "run")
        assert (described["display_name"], described["run_group"]) == (f"digits/{number:04d}", "night")
        assert "mine" in described["tags"]
    follow_study(study, list, print)([])
    assert only(inspect(tmp_path, "abc-study"), "run")["display_name"] == "digits/study"


# ---- what a worker has to say ----


def console(run: Path) -> tuple[SweepConsole, io.StringIO]:
    written = io.StringIO()
    asked = SimpleNamespace(name="digits", num_trials=2)
    sweep = SimpleNamespace(study=asked, space=SimpleNamespace(entries={}), epochs=1)
    study = SimpleNamespace(run=run, sweep=sweep, metric="val/error", trials=list, num_trials=2)
    return SweepConsole(study, None, Console(file=written, width=200, markup=False)), written


def begin(watch: SweepConsole, run: Path, number: int) -> TrialFolder:
    folder = trial_folder(run, number)
    folder.path.mkdir(parents=True, exist_ok=True)
    watch.started(SimpleNamespace(number=number, folder=folder, first_epoch=0))
    return folder


def test_what_wandb_does_to_a_worker_is_said_by_the_driver_once_with_the_trials_number(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_runs, "open_run", lambda *_: (_ for _ in ()).throw(RuntimeError("no [/such] host")))
    watch, written = console(tmp_path)
    study = about(tmp_path, [])
    for number in (3, 4):
        begin(watch, tmp_path, number)
        track(tmp_path, number, study)
        watch.pass_on(number)
    assert written.getvalue() == "warning: trial 3: W&B failed and is left alone from here on: RuntimeError: no [/such] host\n"


def test_what_came_after_a_trials_end_is_said_at_the_sweeps_end_and_nothing_of_an_earlier_one(tmp_path):
    trial_folder(tmp_path, 0).path.mkdir(parents=True)
    trial_folder(tmp_path, 0).add_warning("of yesterday")
    watch, written = console(tmp_path)
    with watch:
        first, second = begin(watch, tmp_path, 0), begin(watch, tmp_path, 1)
        watch.pass_on(0)
        watch.pass_on(1)
        first.add_warning("late\nin two lines")
        second.add_warning("late in two lines")
        second.add_warning("other")
    assert written.getvalue().splitlines() == ["warning: trial 0: late in two lines", "warning: trial 1: other"]


def test_a_full_disk_takes_no_warning_and_is_no_failure_for_it(tmp_path):
    folder = TrialFolder(tmp_path / "not there")
    folder.add_warning("lost")
    assert folder.warnings() == []
