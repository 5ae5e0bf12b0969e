"""W&B: offline files read back with W&B's own reader, online against a service of our own on this machine, and no service at all."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.trial import TrialState

from aae.pictures import image_grid
from aae.runs import Attempt, TrialFolder
from aae.tuning.workers import wandb_runs as tracking
from aae.tuning.workers.wandb_environment import choose_mode, describe_study
from aae.tuning.workers.wandb_runs import Guard, Tracker, follow_study, told_rows, trials_table
from tests.sweep_files import SYSTEM_SWEEP
from tests.sweeping import PROJECT, finished_sweep, launch, wait_for
from tests.wandb_files import CLOSED, KEY, end, inspect, items, only, row, summary


def add_row(attempt: Attempt, epoch: int, pictures: bool = False) -> dict:
    for name in ("samples", "reconstructions", "latent") if pictures else ():
        image_grid(attempt.samples_path / f"epoch-{epoch:04d}-{name}.png", np.zeros((4, 16)), (1, 4, 4), 2)
    return attempt.write_row(row(epoch))


def about(run: Path) -> dict:
    return describe_study("digits", "abc", run, "val/error", ["paper"], print)


# ---- which mode ----


def test_without_a_key_it_is_offline():
    assert choose_mode(print) == "offline"


def test_a_key_in_the_environment_makes_it_online(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_mode(print) == "online"


@pytest.mark.parametrize(("base_url", "mode"), [("https://api.wandb.ai", "online"), ("https://other.example:8080/x", "offline")])
def test_a_key_in_netrc_counts_for_its_own_host_only(tmp_path, monkeypatch, base_url, mode):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    monkeypatch.setenv("WANDB_BASE_URL", base_url)
    assert choose_mode(print) == mode


@pytest.mark.parametrize("text", ["", "machine", "not a netrc"])
def test_a_broken_netrc_is_no_key(tmp_path, text):
    (tmp_path / "netrc").write_text(text)
    assert choose_mode(print) == "offline"


@pytest.mark.parametrize(
    ("value", "mode"), [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("online", "online"), ("Online", "online")]
)
def test_wandb_mode_wins_over_the_key(monkeypatch, value, mode):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", value)
    assert choose_mode(print) == mode


def test_wandb_disabled_wins_over_all(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert choose_mode(print) == "disabled"
    tracker = Tracker(about(tmp_path), "0001", {}, Attempt(tmp_path))
    tracker.log(row(1))
    tracker.finish("COMPLETE", None)
    follow_study(about(tmp_path), list, print)([])
    assert not (tmp_path / "wandb").exists()


# ---- the guard ----


def test_a_failing_call_is_said_once_and_nothing_is_asked_after_it():
    said: list[str] = []
    asked: list[str] = []
    guard = Guard(said.append)

    def fail() -> None:
        asked.append("fail")
        raise RuntimeError("no such host")

    for call in (lambda: asked.append("first"), fail, fail, lambda: asked.append("later")):
        guard.do(call)
    guard.close(5)
    guard.do(lambda: asked.append("after the end"))
    assert asked == ["first", "fail"]
    assert said == ["W&B failed and is left alone from here on: RuntimeError: no such host"]


def test_a_hanging_call_delays_nobody_and_the_end_by_its_bound_only():
    said: list[str] = []
    release = threading.Event()
    guard = Guard(said.append)
    started = time.monotonic()
    for _ in range(1000):
        guard.do(lambda: release.wait(30) and None)
    assert time.monotonic() - started < 0.5
    assert not guard.close(0.3)
    assert 0.3 <= time.monotonic() - started < 1.5
    tracking.wait_for_runs(0.1)
    assert said == ["W&B was not done after 0.1 s; nobody waits for it any longer, wandb sync sends the rest"]
    release.set()


# ---- a trial's run, offline ----


@pytest.fixture
def attempt(tmp_path) -> Attempt:
    return TrialFolder(tmp_path / "digits" / "trials" / "0000").next_attempt()


def test_a_trial_is_in_the_run_folder_with_group_tags_configuration_history_pictures_and_state(tmp_path, monkeypatch, attempt):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_TAGS", "night")
    run = tmp_path / "digits"
    tracker = Tracker(about(run), "0000", {"model.z_dim": 8, "optim.schedule.kind": "step", "model.hidden_dims": [16, 16]}, attempt)
    for epoch in (1, 2, 3):
        tracker.log(add_row(attempt, epoch, pictures=epoch == 2))
    end(tracker, "PRUNED", "pruned at epoch 3")

    records = inspect(run, "abc-0000")
    described = only(records, "run")
    assert described["run_group"] == "digits"
    assert described["project"] == "mine"
    assert described["job_type"] == "trial"
    assert described["display_name"] == "digits/0000"
    assert set(described["tags"]) == {"trial 0000", "paper", "night"}
    config = described["config"]["update"]
    assert (config["model.z_dim"], config["optim.schedule.kind"], config["model.hidden_dims"]) == (8, "step", [16, 16])

    history = items(records)
    assert [(item["epoch"], item["_step"], item["val/error"]) for item in history] == [(1, 1, 0.5), (2, 2, 0.25), (3, 3, 0.5 / 3)]
    pictures = [sorted(key.split(".")[0] for key in item if key.endswith("._type")) for item in history]
    assert pictures == [[], ["pictures/latent", "pictures/reconstructions", "pictures/samples"], []]
    for name in ("latent", "reconstructions", "samples"):
        assert len(list((run / "wandb").glob(f"offline-run-*/files/{history[1][f'pictures/{name}.path']}"))) == 1
    axes = [record["metric"] for record in records if record["type"] == "metric"]
    assert any(axis.get("glob_name") == "*" and axis["step_metric"] == "epoch" for axis in axes)
    last = summary(records)
    assert (last["state"], last["reason"], last["val/error"]) == ("PRUNED", "pruned at epoch 3", 0.5 / 3)
    assert only(records, "exit").get("exit_code", 0) == 0


def test_a_trial_that_goes_on_has_one_file_with_every_epoch_once(tmp_path):
    run, folder = tmp_path / "digits", TrialFolder(tmp_path / "digits" / "trials" / "0003")
    first = folder.next_attempt()
    tracker = Tracker(about(run), "0003", {}, first)
    for epoch in (1, 2):
        tracker.log(add_row(first, epoch, pictures=True))
    end(tracker, "INTERRUPTED", "the same command goes on")
    second = folder.next_attempt()
    tracker = Tracker(about(run), "0003", {}, second)
    for epoch in (2, 3):  # its checkpoint was an epoch behind its rows
        tracker.log(add_row(second, epoch))
    end(tracker, "FAIL", "the disk is full")
    records = inspect(run, "abc-0003")
    assert [item["_step"] for item in items(records)] == [1, 2, 3]
    assert "pictures/latent.path" in items(records)[0]
    assert (summary(records)["state"], summary(records)["reason"]) == ("FAIL", "the disk is full")
    assert only(records, "exit")["exit_code"] == 1


# ---- the study's run ----


def trial(number: int, state: str, values: list[float], told_at: int | None, **attributes: object) -> SimpleNamespace:
    return SimpleNamespace(
        number=number,
        constraints={},
        state=TrialState[state],
        intermediate_values=dict(enumerate(values, 1)),
        last_step=len(values) or None,
        value=values[-1] if values and state in ("COMPLETE", "PRUNED") else None,  # as Optuna has it
        datetime_complete=told_at,
        params={"model.z_dim": 6 + number},
        user_attrs=attributes,
    )


TRIALS = [
    trial(0, "COMPLETE", [0.5, 0.3], 3, baseline={"name": "paper"}),
    trial(1, "PRUNED", [0.6], 1, reason="pruned at epoch 1"),
    trial(2, "COMPLETE", [0.5, 0.2], 4),
    trial(3, "FAIL", [], 2, reason="the host ran out of memory"),
]


def test_the_best_so_far_is_in_the_order_of_telling_and_only_of_complete_trials():
    rows = told_rows([*TRIALS, trial(4, "RUNNING", [0.01], None)], "val/error", order := list[int]())
    assert [(row["told"], row["trial"], row.get("val/error"), row.get("best val/error")) for row in rows] == [
        (1, 1, 0.6, None),
        (2, 3, None, None),
        (3, 0, 0.3, 0.3),
        (4, 2, 0.2, 0.2),
    ]
    later = told_rows([*TRIALS, trial(4, "COMPLETE", [0.01], 0)], "val/error", order)  # the clock was set back meanwhile
    assert later[:4] == rows and later[4]["trial"] == 4


def test_the_summary_has_the_last_error_and_not_the_lowest_and_offline_it_is_said_where_to_look(tmp_path, attempt):
    tracker, said = Tracker(about(tmp_path / "digits"), "0000", {}, attempt), list[str]()
    for epoch, error in enumerate((0.5, 0.2, 0.4), 1):
        tracker.log(attempt.write_row(row(epoch) | {"val/error": error}))
    end(tracker, "COMPLETE")
    assert summary(inspect(tmp_path / "digits", "abc-0000"))["val/error"] == 0.4
    follow_study(about(tmp_path / "digits"), list, said.append)([])
    assert said == [f"W&B is offline; wandb leet {tmp_path}/digits/wandb shows it, docs/wandb.md says how to send it"]


def test_the_study_has_a_run_with_the_table_of_trials_their_states_and_the_figures(tmp_path):
    run, figure = tmp_path / "digits", image_grid(tmp_path / "history.png", np.zeros((4, 16)), (1, 4, 4), 2)
    for told in (2, 4):  # as after a kill: the second invocation replaces the first one's file
        trials = [trial for trial in TRIALS if trial.datetime_complete <= told]
        follow_study(about(run), lambda trials=trials: trials, print)([figure])
    records = inspect(run, "abc-study")
    assert (only(records, "run")["run_group"], only(records, "run")["job_type"]) == ("digits", "study")
    assert (summary(records)["best_trial"], summary(records)["best_value"]) == (2, 0.2)
    history = items(records)
    assert [item["_step"] for item in history] == [1, 2, 3, 4]
    assert history[-1]["best val/error"] == 0.2
    assert "figures/history.path" in history[-1]
    (file,) = (run / "wandb").glob(f"offline-run-*/files/{history[-1]['trials.path']}")
    content = json.loads(file.read_text())
    shown = [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]
    assert [line["state"] for line in shown] == ["COMPLETE", "PRUNED", "COMPLETE", "FAIL"]
    assert [line["reason"] for line in shown] == [None, "pruned at epoch 1", None, "the host ran out of memory"]
    assert [line["val/error"] for line in shown] == [0.3, 0.6, 0.2, None]
    assert (shown[0]["baseline"], shown[2]["model.z_dim"]) == ("paper", 8)


def test_a_diverged_and_an_interrupted_trial_are_called_so_in_the_table():
    columns, data = trials_table([trial(0, "PRUNED", [], 1, reason="diverged: a loss"), trial(1, "RUNNING", [0.4], None)], "val/error")
    assert [line[columns.index("state")] for line in data] == ["DIVERGED", "interrupted"]


# ---- online ----


class Service(BaseHTTPRequestHandler):
    """As much of W&B's service as a run needs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.broken == "silent":  # until the test ends: the client has to give up
            self.server.ended.wait(120)
            return
        if self.server.broken is not None:
            self.server.refused += 1
            self.send_response(self.server.broken)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/graphql":
            request = json.loads(body)
            self.answer({"data": self.graphql(request["query"], request.get("variables") or {})})
        else:
            if self.path.endswith("/file_stream"):
                self.server.streams.append((self.path, json.loads(body or b"{}")))
            self.answer({})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.uploads.append(self.path)
        self.answer({})

    def graphql(self, query: str, given: dict) -> dict:
        operation = re.match(r"\s*(?:query|mutation)\s+(\w+)", query)
        name = operation.group(1) if operation else ""
        self.server.asked.append(name)
        if name == "UpsertBucket":
            project = {"name": given.get("project") or "aae-sweep", "entity": {"name": "me"}}
            bucket = {"id": "b", "name": given.get("name"), "displayName": "d", "historyLineCount": 0, "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "CreateRunFiles":
            address = f"http://127.0.0.1:{self.server.server_address[1]}/upload/"
            files = [{"name": file, "uploadUrl": address + file} for file in given.get("files", [])]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if name == "ArtifactType":
            return {"project": None}
        if name == "CreateArtifact":  # COMMITTED: these files are here already
            sequence = {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}}
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}
        if name == "RunResumeStatus" and self.server.known is not None:
            return {"model": {"id": "p", "name": "aae-sweep", "entity": {"id": "e", "name": "me"}, "bucket": self.server.known}}
        viewer = {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": viewer, "model": {"bucket": None}}

    def answer(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.asked, server.streams, server.uploads = [], [], []
    server.broken, server.ended, server.daemon_threads = None, threading.Event(), True
    server.refused = 0
    server.known = None  # of a run that the service has already
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


RESUMED = {
    "id": "b",
    "displayName": "d",
    "historyLineCount": 2,
    "eventsLineCount": 0,
    "logLineCount": 0,
    "historyTail": json.dumps([json.dumps({"_step": 2, "_runtime": 5, "epoch": 2})]),
    "eventsTail": "[]",
    "summaryMetrics": json.dumps({"_step": 2, "epoch": 2}),
    "config": "{}",
    "tags": [],
    "wandbConfig": json.dumps({"t": 1}),
}


def lines(server: ThreadingHTTPServer, run_id: str, name: str) -> list[dict]:
    """What the service was sent of a run's history or summary."""
    chunks = [body["files"][name]["content"] for path, body in server.streams if run_id in path and name in body.get("files", {})]
    return [json.loads(line) for chunk in chunks for line in chunk]


def test_with_a_key_history_summary_and_pictures_reach_the_service(tmp_path, service, attempt):
    tracker = Tracker(about(tmp_path / "digits"), "0000", {"model.z_dim": 8}, attempt)
    for epoch in (1, 2):
        tracker.log(add_row(attempt, epoch, pictures=epoch == 2))
    end(tracker, "COMPLETE")
    assert [line["epoch"] for line in lines(service, "abc-0000", "wandb-history.jsonl")] == [1, 2]
    assert lines(service, "abc-0000", "wandb-summary.json")[-1]["state"] == "COMPLETE"
    assert sum("pictures" in path for path in service.uploads) == 3


def test_the_key_is_in_no_file_and_on_no_command_line(tmp_path, service, attempt, capfd):
    tracker = Tracker(about(tmp_path / "digits"), "0000", {"model.z_dim": 8}, attempt)
    tracker.log(add_row(attempt, 1))
    while not service.streams:
        time.sleep(0.05)
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert KEY.encode() not in file.read_bytes(), file
    end(tracker, "COMPLETE")
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == [] and KEY not in "".join(capfd.readouterr())


def test_a_run_that_the_service_has_already_goes_on_after_its_last_step(tmp_path, service):
    """The node of its first attempt was lost after epoch 2 had reached the service, and the second one has every row."""
    folder = TrialFolder(tmp_path / "digits" / "trials" / "0004")
    folder.next_attempt().write_row(row(1))
    service.known = RESUMED | {"name": "abc-0004"}
    attempt = folder.next_attempt()
    attempt.write_row(row(2))
    tracker = Tracker(about(tmp_path / "digits"), "0004", {}, attempt)
    tracker.log(add_row(attempt, 3))
    end(tracker, "COMPLETE")
    assert [line["_step"] for line in lines(service, "abc-0004", "wandb-history.jsonl")] == [3]


SYNC = [str(Path(sys.executable).with_name("wandb")), "sync", "--include-online", "--yes"]  # README


@pytest.mark.parametrize("broken", [429, pytest.param(500, marks=pytest.mark.slow)])
def test_a_service_that_refuses_for_a_while_loses_nothing(tmp_path, service, attempt, broken):
    tracker = Tracker(about(tmp_path / "digits"), "0000", {}, attempt)
    tracker.log(add_row(attempt, 1))
    while not service.streams:
        time.sleep(0.05)
    service.broken = broken
    tracker.log(add_row(attempt, 2))
    wait_for(lambda: service.refused, 30, "the second epoch is refused")
    tracker.log(add_row(attempt, 3))
    service.broken = None
    end(tracker, "COMPLETE")
    assert {line["epoch"] for line in lines(service, "abc-0000", "wandb-history.jsonl")} == {1, 2, 3}


@pytest.mark.slow
def test_a_service_that_falls_silent_holds_no_trial_and_one_command_sends_what_it_has_not_got(tmp_path, service, attempt):
    """A trial that it knew already, and one that begins meanwhile."""
    first = Tracker(about(tmp_path / "digits"), "0000", {}, attempt)
    first.log(add_row(attempt, 1))
    while not service.streams:
        time.sleep(0.05)
    service.broken, began = "silent", time.monotonic()
    second_attempt = TrialFolder(tmp_path / "digits" / "trials" / "0001").next_attempt()
    second = Tracker(about(tmp_path / "digits"), "0001", {}, second_attempt)
    first.log(add_row(attempt, 2))
    second.log(add_row(second_attempt, 1))
    first.finish("COMPLETE", None)
    second.finish("COMPLETE", None)
    assert time.monotonic() - began < 2 * tracking.TRIAL_WAIT_S + 2
    tracking.wait_for_runs(60)
    sys.modules["wandb"].teardown()  # the worker's process ends
    service.broken = None
    subprocess.run(SYNC, cwd=tmp_path / "digits", check=True, timeout=60, capture_output=True)
    assert {line["epoch"] for line in lines(service, "abc-0000", "wandb-history.jsonl")} == {1, 2}
    assert {line["epoch"] for line in lines(service, "abc-0001", "wandb-history.jsonl")} == {1}


def test_online_the_project_is_named_once_and_the_study_reaches_the_service(tmp_path, service):
    said: list[str] = []
    follow_study(about(tmp_path / "digits"), lambda: TRIALS, said.append)([])
    assert said == [f"W&B: http://127.0.0.1:{service.server_address[1]}/me/aae-sweep"]
    history = lines(service, "abc-study", "wandb-history.jsonl")
    assert [(line["told"], line.get("best val/error")) for line in history] == [(1, None), (2, None), (3, 0.3), (4, 0.2)]
    assert history[-1]["trials"]["nrows"] == 4


def test_a_service_that_goes_away_costs_a_trial_no_more_than_its_bound(tmp_path, service, attempt, monkeypatch):
    monkeypatch.setattr(tracking, "UPLOAD_TIMEOUT_S", 2.0)
    tracker = Tracker(about(tmp_path / "digits"), "0000", {}, attempt)
    tracker.log(add_row(attempt, 1))
    while not service.asked or tracker.epoch < 1:
        time.sleep(0.05)
    service.shutdown()
    service.server_close()
    started = time.monotonic()
    tracker.log(add_row(attempt, 2))
    tracker.finish("COMPLETE", None)
    assert time.monotonic() - started < tracking.TRIAL_WAIT_S + 1


def test_without_a_service_the_trial_waits_for_nothing_and_its_run_is_offline(tmp_path, monkeypatch, capfd, attempt):
    monkeypatch.setenv("WANDB_BASE_URL", CLOSED)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(tracking, "INIT_TIMEOUT_S", 4.0)
    started = time.monotonic()
    tracker = Tracker(about(tmp_path / "digits"), "0000", {}, attempt)
    tracker.log(add_row(attempt, 1))
    assert time.monotonic() - started < 1
    tracker.finish("COMPLETE", None)
    assert time.monotonic() - started < 1 + tracking.TRIAL_WAIT_S + 1
    tracking.wait_for_runs(40)
    assert [item["epoch"] for item in items(inspect(tmp_path / "digits", "abc-0000"))] == [1]
    assert capfd.readouterr().err.count("W&B cannot be reached") == 1
    assert tracking.unreachable


HANGING = """
import os, signal, subprocess, sys, time
from pathlib import Path
from aae.tuning.workers import wandb_runs as tracking
from aae.tuning.workers.wandb_environment import describe_study

tracking.STUDY_WAIT_S = 0.5
run = Path(sys.argv[1])
finish = tracking.follow_study(describe_study("digits", "abc", run, "val/error", [], print), list, print)
while not list(run.glob("wandb/offline-run-*/*.wandb")):
    time.sleep(0.1)
children = subprocess.run(["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True, text=True).stdout
os.kill(int(children), signal.SIGSTOP)
print("stopped", int(children), flush=True)
finish([])
"""


def test_a_hanging_process_of_wandb_does_not_hold_the_end_of_a_sweep(tmp_path):
    command = [sys.executable, "-c", HANGING, str(tmp_path / "digits")]
    said = tmp_path / "said"  # no pipe: W&B's process holds its end
    try:
        with open(said, "w") as file:
            env = os.environ | {"PYTHONPATH": str(PROJECT)}
            done = subprocess.run(command, stdout=file, stderr=file, timeout=40, env=env)
        assert "nobody waits" in said.read_text()
        assert done.returncode == 0
    finally:
        for number in re.findall(r"^stopped (\d+)$", said.read_text(), re.MULTILINE):
            os.kill(int(number), signal.SIGKILL)


# ---- a sweep ----


@pytest.mark.system
def test_a_sweep_leaves_a_run_a_trial_with_its_true_state_and_one_of_the_study(tmp_path_factory):
    run = finished_sweep(tmp_path_factory) / "s"
    run_id = json.loads((run / "manifest.json").read_text())["id"]
    results = [json.loads((run / "trials" / f"{number:04d}" / "result.json").read_text()) for number in range(8)]
    one_of_each = {result["state"]: result for result in results}
    assert set(one_of_each) == {"COMPLETE", "PRUNED"}
    for result in one_of_each.values():
        number = result["number"]
        records = inspect(run, f"{run_id}-{number:04d}")
        assert (summary(records)["state"], summary(records).get("reason")) == (result["state"], result["reason"])
        assert [item["epoch"] for item in items(records)] == list(range(1, result["epochs"] + 1))
        assert only(records, "run")["config"]["update"]["train.epochs"] == 4
        assert sum(key.startswith("pictures/") and key.endswith("._type") for key in items(records)[-1]) == (
            3 if result["epochs"] % 2 == 0 else 0
        )
    study = inspect(run, f"{run_id}-study")
    assert [item["told"] for item in items(study)] == list(range(1, 9))
    assert summary(study)["num_trials"] == 8
    assert any(key.startswith("figures/") for key in items(study)[-1])


@pytest.mark.slow
@pytest.mark.system
def test_a_sweep_whose_service_cannot_be_reached_is_done_all_the_same(workplace):
    Path("s.yaml").write_text(SYSTEM_SWEEP)
    done = launch("s.yaml", "study.num_trials=2", "train.epochs=1", WANDB_BASE_URL=CLOSED, WANDB_API_KEY=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 COMPLETE" in done.stdout
    assert done.stdout.count("W&B cannot be reached") == 1
