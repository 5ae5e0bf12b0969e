"""--json: one object on standard output, all else on standard error, and the keys of docs/json.md."""

import json
import os
import re
import socket
from pathlib import Path

import pytest

import launch
from aae.runs import trial_folder, write_rows
from aae.tuning.confirm import run as confirmation
from aae.tuning.study.lock import DriverLock
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from tests.sweep_files import TINY_SWEEP
from tests.sweeping import PROJECT, train_here, train_out, without_ray

ONE_DRAW = {"study.draws_per_trial": 1}


@pytest.fixture
def run(workplace) -> Path:
    """Three trials, the first a baseline."""
    Path("s.yaml").write_text(TINY_SWEEP)
    train_here(load_sweep("s.yaml", ONE_DRAW))
    return Path("runs/s")


def documented(command: str) -> set[str]:
    page = (PROJECT / "docs" / "json.md").read_text(encoding="utf-8")
    (part,) = (text for text in page.split("\n## ") if text.startswith(f"`{command}"))
    return set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))


def answer(command: str, arguments: list[str], capfd, code: int = 0) -> tuple[dict, str]:
    """(the object, what was said on standard error) of a command that must print it alone, with the documented keys."""
    capfd.readouterr()
    assert launch.main([*arguments, "--json"]) == code
    said = capfd.readouterr()
    found = json.loads(said.out)
    assert said.out.count("\n") == 1 and set(found) == documented(command)
    return found, said.err


def test_a_plan(workplace, capfd):
    Path("s.yaml").write_text("# Cost: 3 s\n" + TINY_SWEEP)
    found, _ = answer("SWEEP", ["s.yaml", "--plan", "model.z_dim=3", "study.folder=elsewhere"], capfd)
    assert (found["study"], found["folder"]) == ("s", "elsewhere/s") and not Path("elsewhere").exists()
    assert found["sweep"]["trial"]["model"]["z_dim"] == 3 and found["sweep"]["search_space"] == {}
    copies = "nothing is searched: trials 1 to 2 are one training again and again; study.num_trials=2 has it once"
    assert found["notes"] == ["model.z_dim is set on the command line: not searched", copies]
    assert found["cases"] == [{"name": "baseline slow", "values": {"optim.reconstruction.rate": 0.001}}]
    assert found["forecast"]["from"] == "header" and found["forecast"]["text"].startswith("3 s (from")


def test_a_plan_of_what_would_be_refused_has_the_reasons_and_code_2(workplace, capfd):
    """Own data that do not fit, are broken, or have a folder that holds something else; a file that is elsewhere is a warning."""
    Path("s.yaml").write_text(TINY_SWEEP)
    found, said = answer("SWEEP", ["s.yaml", "--plan", "train.batch_size=5000"], capfd, code=2)
    assert "train.batch_size: got 5000" in found["refused"][0] and found["refused"][0] in said
    Path("broken.npz").write_bytes(b"hello")
    Path("runs/s").mkdir(parents=True)
    Path("runs/s/letter.txt").write_text("dear")
    found, _ = answer("SWEEP", ["s.yaml", "--plan", "data.folder=broken.npz"], capfd, code=2)
    assert ["broken.npz: cannot be read" in found["refused"][0], "runs/s: not empty" in found["refused"][1]] == [True, True]
    found, _ = answer("SWEEP", ["s.yaml", "--plan", "data.folder=none.npz", "study.name=other"], capfd)
    assert found["refused"] == [] and "would not start here" in found["warnings"][0]


def test_a_status(run, capfd):
    found, _ = answer("status", ["status", str(run)], capfd)
    assert found["driver"] is None and found["states"] == {"COMPLETE": 3} and found["num_trials"] == 3
    values = {trial["number"]: trial["value"] for trial in found["trials"]}
    assert values[found["best"]] == min(values.values()) and found["trials"][0]["baseline"] == "slow"
    assert found["trials"][1]["params"].keys() == {"model.z_dim"} and found["confirmation"] is None


def test_the_status_of_a_sweep_at_work_names_its_driver_and_its_running_trial(run, capfd):
    SweepStudy(run, load_sweep("s.yaml", ONE_DRAW | {"study.num_trials": 4})).next()
    lock = DriverLock(run)
    found, _ = answer("status", ["status", str(run)], capfd)
    lock.release()
    assert found["driver"]["pid"] == os.getpid() and found["states"] == {"COMPLETE": 3, "running": 1}
    assert found["trials"][3] == {
        "number": 3,
        "value": None,
        "epochs": 0,
        "seconds": 0,
        "reason": None,
        "baseline": None,
        "params": found["trials"][3]["params"],
        "state": "running",
    }


def test_the_table_says_running_too_where_a_driver_is_at_work(run, capsys):
    """Seen to say interrupted, below a line that said running."""
    SweepStudy(run, load_sweep("s.yaml", ONE_DRAW | {"study.num_trials": 4})).next()
    for work, word, other in (("search", "running", "interrupted"), ("confirm", "interrupted", "running")):
        driver = DriverLock(run, work=work)
        assert launch.main(["status", str(run)]) == 0
        driver.release()
        table = capsys.readouterr().out.partition("trials, the best first")[2]
        assert word in table and other not in table


@pytest.mark.parametrize("there", [(), ("manifest.json",), ("manifest.json", "study.journal")])
def test_a_sweep_that_is_starting_has_a_status(there, run, capfd):
    """It holds the folder; Ray starts, and a few configurations take their first steps. Then the manifest is there, and an empty journal.
    Seen to be refused as no sweep."""
    Path("runs/new").mkdir()
    for name in there:
        Path("runs/new", name).write_bytes(b"" if name == "study.journal" else (run / name).read_bytes())
    lock = DriverLock(Path("runs/new"))
    found, _ = answer("status", ["status", "runs/new"], capfd)
    assert found["driver"] == {"pid": os.getpid(), "host": socket.gethostname(), "work": "search"}
    assert (found["study"], found["states"], found["trials"], found["best"]) == (None, {}, [], None)
    assert launch.main(["status", "runs/new"]) == 0
    assert capfd.readouterr().out == f"runs/new: starting (pid {os.getpid()} on {socket.gethostname()}), no trial yet\n"
    lock.release()
    assert launch.main(["status", "runs/new"]) == 2


def test_a_confirmation_and_what_others_print_meanwhile_is_not_on_standard_output(run, monkeypatch, capfd):
    """Seen to fail without the `dup2`, and without the `redirect_stdout`."""

    def trained(study: SweepStudy, *_) -> None:
        print("a library's line")
        os.write(1, b"a child's line\n")
        train_out(study)

    without_ray(monkeypatch, trained)
    asked = "study.confirm={select_k: 1, select_draws: 1, report_draws: 2, baseline: slow}"
    found, said = answer("confirm", ["confirm", str(run), asked], capfd)
    assert (found["stage"], found["trainings_told"], found["exit_code"]) == ("done", 2 + 2 * len(found_roles(found)), 0)
    assert len(found["report"]["winner"]["test/error"]) == 2 and found["verdict"] and found["winner"] == found["report"]["winner"]["name"]
    assert "a library's line" in said and "a child's line" in said and "report: " in said


def found_roles(found: dict) -> list[str]:
    return [role for role in ("winner", "baseline") if found["report"][role] is not None]


def test_a_confirmation_for_which_ray_does_not_start_has_every_key(run, monkeypatch, capfd):
    """Seen to leave out three."""

    def broken(*_):
        raise RuntimeError("Ray does not start")

    monkeypatch.setattr(confirmation, "run_confirmation", broken)
    asked = "study.confirm={select_k: 1, select_draws: 1, report_draws: 2}"
    found, said = answer("confirm", ["confirm", str(run), asked], capfd, code=1)
    assert (found["stage"], found["trainings_told"], found["winner"], found["exit_code"]) == (None, None, None, 1)
    assert said == "launch.py: Ray does not start\n"


def test_a_confirmation_that_was_stopped_has_no_report_yet(run, monkeypatch, capfd):
    without_ray(monkeypatch, lambda study, *_: train_out(study, 1))
    found, said = answer("confirm", ["confirm", str(run), "study.confirm={select_k: 1, select_draws: 1, report_draws: 2}"], capfd)
    assert (found["stage"], found["trainings_told"], found["report"], found["verdict"]) == ("selection", 1, None, [])
    assert "the same command goes on" in said
    for command in ("status", "reproduce", "confirm"):
        assert launch.main([command, str(run / "confirm")]) == 2
        said = capfd.readouterr().err
        assert said == f"launch.py: {run}/confirm: a confirmation's folder, no sweep's; give {run}\n"  # seen to be called broken


def test_a_reproduction(run, capfd):
    found, said = answer("reproduce", ["reproduce", str(run), "--trial", "1"], capfd)
    assert (found["trial"], found["epochs"], found["equal"], found["verdict"]) == (1, 3, True, "reproduced")
    assert found["recorded"] == found["again"] and "reproduced: 3 epochs equal to the bit" in said
    folder = trial_folder(run, 1)
    write_rows(folder.last_attempt().metrics_path, [row | {"val/error": 0.5} if row["epoch"] > 1 else row for row in folder.rows()])
    found, _ = answer("reproduce", ["reproduce", str(run), "--trial", "1"], capfd, code=1)
    assert (found["equal"], found["first_difference"], found["verdict"], found["exit_code"]) == (False, 2, "differs", 1)


def test_wrong_input_prints_no_object(workplace, capfd):
    for arguments in (["status", "none"], ["confirm", "none"], ["reproduce", "none"], ["none.yaml", "--plan"]):
        assert launch.main([*arguments, "--json"]) == 2
        said = capfd.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
    with pytest.raises(SystemExit):
        launch.main(["none.yaml", "--json"])
    assert "--json goes with --plan" in capfd.readouterr().err
