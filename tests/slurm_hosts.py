"""clusters/slurm.sh under a real Slurm of three nodes, namespaces of this machine: its time limit comes midway, then a node's end.

    make slurm-test          needs root, and Debian's slurm-wlm, munge, iproute2

A node has a network, processes, mounts, a name, a /tmp and a slurmd of its own; slurmctld and munged run beside them, with keys and
ports of their own. Everything is in one temporary folder, which is removed; only what was started here is ended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.cluster_hosts import PROJECT, can_run, run, say, wait_for
from tests.golden import tiny_arrays
from tests.sweeping import MARK, assert_one_truth, count_rows, count_told, marked, trials_of

NEEDED = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged", "ip", "nsenter", "unshare")
NODES = ("n1", "n2", "n3")
BRIDGE, NETWORK = "aae-slurm", "10.78.0"
CONTROLLER = f"{NETWORK}.254"
NUM_TRIALS = 24
SIGNAL_S = 60  # before the time limit
ENOUGH_MIN = 40
ROUND_S, REQUEUED_S, LOST_S, END_S, GONE_S = 420, 120, 150, 1200, 120  # within which it must have happened
SWEEP = f"""
study: {{name: s, num_trials: {NUM_TRIALS}, sampler: {{kind: RandomSampler, seed: 0}}}}
trial:
  data: {{name: npz, folder: FOLDER/tiny.npz, num_validation: 105, num_labels: 20}}
  model: {{hidden_dims: [64]}}
  objective: {{adversarial_y: {{}}, classification: {{}}}}
  train: {{epochs: 30, batch_size: 10, labelled_batch_size: 10, sample_every: 0}}
search_space:
  optim.reconstruction.rate: {{kind: float, low: 0.0001, high: 0.001, log: true}}
"""
# SlurmdTimeout: after which a silent node is down; Ray, after 8 s, is to see it first. cred_expire is also how long a job that was
# queued again must wait.
SLURM = """
ClusterName=aae
SlurmctldHost={host}({controller})
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=20
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n/slurmd.pid
SlurmdLogFile={folder}/%n/slurmd.log
SlurmdSpoolDir={folder}/%n/spool
SlurmdParameters=config_overrides
SlurmdTimeout=60
KillWait=20
ReturnToService=2
FirstJobId={first}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=5,bf_interval=5
MpiDefault=none
"""
# Runs as the first process of a node. $HERE is its folder, $KEEP what must stay visible of /tmp.
BOOT = """
set -e
hostname "$NAME"
ip link set lo up
mount -t tmpfs tmpfs /dev/shm
for path in $KEEP; do
  mkdir -p "$HERE$path"
  mount --bind "$path" "$HERE$path"
done
mount --rbind "$HERE/tmp" /tmp
slurmd -D -N "$NAME"
"""


class Node:
    def __init__(self, name: str, folder: Path):
        self.name, self.address, self.folder = name, f"{NETWORK}.{name[1:]}", folder / name
        self.space = self.link = f"aae-s-{name}"
        self.process: subprocess.Popen[bytes] | None = None
        for part in ("spool", "tmp"):
            (self.folder / part).mkdir(parents=True)

    def start(self, env: dict[str, str]) -> None:
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", self.link, "master", BRIDGE, "up")
        run("ip", "-n", self.space, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        run("ip", "-n", self.space, "route", "add", "default", "via", CONTROLLER)  # by it Ray finds a node's own address
        needed = {Path(sys.base_prefix), (PROJECT / ".venv").resolve(), PROJECT, self.folder.parent}
        kept = [str(path) for path in needed if path.is_relative_to("/tmp")]
        env = env | {"NAME": self.name, "HERE": str(self.folder), "KEEP": " ".join(sorted(kept))}
        spaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        # Not `ip netns exec`: that hides the cgroups that slurmd looks for.
        with open(self.folder / "boot.log", "ab") as log:
            command = ["nsenter", f"--net=/run/netns/{self.space}", *spaces, "bash", "-c", BOOT]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def kill(self) -> None:
        """The power goes: every process of the node, and its link."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None
        run("ip", "netns", "delete", self.space, check=False)
        run("ip", "link", "delete", self.link, check=False)


class Slurm:
    """munged, slurmctld and the nodes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SLURM_CONF": str(folder / "slurm.conf"), "HOME": str(folder / "home")}
        for part in ("munge", "state", "home", "runs"):
            (folder / part).mkdir()
        key = folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        with socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
        first = 1000 + os.getpid() % 10000  # Ray's ports go by it: not those of another Slurm's first jobs
        conf = SLURM.format(folder=folder, host=socket.gethostname().split(".")[0], controller=CONTROLLER, port=port, first=first)
        lines = [f"NodeName={name} NodeAddr={NETWORK}.{name[1:]} NodeHostname={name} CPUs=1 State=UNKNOWN" for name in NODES]
        (folder / "slurm.conf").write_text("\n".join([conf, *lines, "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"]))
        self.nodes = {name: Node(name, folder) for name in NODES}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        own = self.folder / "munge"
        files = [f"--{name}-file={own / name}" for name in ("key", "pid", "log", "seed")]
        self.daemon("munged", "--foreground", "--force", f"--socket={own / 'socket'}", *files)
        wait_for((own / "socket").exists, 20, "munged's socket")
        self.daemon("slurmctld", "-D", "-c")
        for node in self.nodes.values():
            node.start(self.env)
        wait_for(lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == str(len(NODES)), 60, "every node is idle")

    def daemon(self, *command: str) -> None:
        with open(self.folder / "daemons.log", "ab") as log:
            self.daemons.append(subprocess.Popen(command, env=self.env, stdout=log, stderr=log))

    def ask(self, *command: str, **more: str) -> str:
        return run(*command, check=False, env=self.env | more, cwd=PROJECT, timeout=60).stdout

    def end(self) -> None:
        for node in self.nodes.values():
            node.kill()
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        run("ip", "link", "delete", BRIDGE, check=False)


class Job:
    def __init__(self, slurm: Slurm):
        self.slurm, self.log, self.run, self.mark = slurm, slurm.folder / "job.log", slurm.folder / "runs" / "s", str(slurm.folder)
        size = [f"--nodes={len(NODES)}", "--cpus-per-task=1", f"--time={ENOUGH_MIN}", f"--signal=B:USR1@{SIGNAL_S}", f"--output={self.log}"]
        asked = ["clusters/slurm.sh", str(slurm.folder / "s.yaml"), f"study.folder={self.run.parent}"]
        # Ray's own niceness of 15 is a tenth of a busy machine.
        self.id = slurm.ask("sbatch", "--parsable", *size, *asked, **{MARK: self.mark, "RAY_worker_niceness": "0"}).strip()
        assert self.id.isdigit(), f"sbatch answered {self.id!r}"

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def facts(self) -> dict[str, str]:
        return dict(word.partition("=")[::2] for word in self.slurm.ask("scontrol", "show", "job", "-o", self.id).split())

    def limit(self, minutes: int) -> None:
        self.slurm.ask("scontrol", "update", f"jobid={self.id}", f"timelimit={minutes}")

    def minutes(self) -> int:
        """How long it has run, whole ones."""
        hours, minutes, _ = map(int, self.facts()["RunTime"].split(":"))
        return 60 * hours + minutes

    def requeues(self) -> int:
        return int(self.facts().get("Restarts", 0))

    def ended(self) -> bool:
        """It is done, and completed. Raises AssertionError where it has ended otherwise."""
        state = self.facts().get("JobState")
        assert state in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "COMPLETED"), f"{state}: {self.said()[-3000:]}"
        return state == "COMPLETED"


def rehearse(slurm: Slurm) -> None:
    job = Job(slurm)
    say(f"job {job.id} is submitted")
    wait_for(lambda: count_rows(job.run) or job.ended(), ROUND_S, "the first rows")
    say(f"the first rows; {next(line.partition(';')[0] for line in job.said().splitlines() if 'have joined' in line)}")
    wait_for(lambda: count_told(job.run) > 1 or job.ended(), ROUND_S, "two trials are told")
    job.limit(job.minutes() + 2)  # a limit in the middle of the sweep, however fast this machine is; Slurm looks every 30 s
    wait_for(lambda: "stopping at the next report" in job.said() or job.ended(), ROUND_S, "the signal at the time limit")
    say(f"signalled with {count_told(job.run)} trials told")
    wait_for(lambda: "the time is up: back into the queue" in job.said() or job.ended(), REQUEUED_S, "the job goes back into the queue")
    told, rows = count_told(job.run), count_rows(job.run)
    assert told < NUM_TRIALS, "the sweep ended before its time limit: nothing was tried"
    assert (job.run / "report" / "index.html").exists(), "no page was written"
    say(f"queued again with {told} trials told, {rows} epochs; the page is written")
    job.limit(ENOUGH_MIN)
    wait_for(lambda: count_rows(job.run) > rows + 10 or job.ended(), ROUND_S, "it goes on")
    say(f"it goes on: {next(line.partition('reconciled: ')[2] for line in job.said().splitlines() if 'reconciled' in line)}")

    slurm.nodes["n3"].kill()
    say(f"n3 is killed with {count_told(job.run)} trials told")
    took = wait_for(lambda: "its node was lost" in job.said() or job.requeues() > 1, LOST_S, "the driver, or Slurm, sees it")
    say(f"noticed after {took:.0f} s by {'Slurm' if job.requeues() > 1 else 'Ray: its trial goes on elsewhere'}")
    took += wait_for(lambda: job.requeues() > 1 or job.ended(), LOST_S, "Slurm queues the job again")
    say(f"{'queued again by Slurm' if job.requeues() > 1 else 'ended'} {took:.0f} s after the kill, {count_told(job.run)} trials told")
    slurm.nodes["n3"].start(slurm.env)
    say("n3 is back")
    wait_for(job.ended, END_S, "its end")
    print(job.said(), flush=True)
    assert_one_truth(job.run, NUM_TRIALS)
    say(f"{NUM_TRIALS} trials, {sorted({trial.state.name for trial in trials_of(job.run)})}, each epoch once")
    took = wait_for(lambda: not marked(job.mark), GONE_S, "no process of the job is left")
    assert not list((slurm.folder / "home").glob(".aae-sweep-*")), "the job's own folder is left"
    say(f"no process of the job is left, {took:.0f} s after its end")


def main() -> int:
    if not can_run("slurm-test", NEEDED, "slurm-wlm munge iproute2"):
        return 2
    folder = Path(tempfile.mkdtemp(prefix="aae-slurm-"))
    np.savez(folder / "tiny.npz", **tiny_arrays())
    (folder / "s.yaml").write_text(SWEEP.replace("FOLDER", str(folder)))
    slurm = Slurm(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it takes everything down
    try:
        slurm.start()
        say("Slurm is up, three nodes are idle")
        rehearse(slurm)
        say("all of it held")
        return 0
    finally:
        slurm.end()
        if "--keep" not in sys.argv:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
