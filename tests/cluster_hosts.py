"""`ray up` on three hosts that are namespaces of this machine, a sweep there, and what happens when links, hosts and drivers go.

    make cluster-test          needs root, and Debian's openssh-server, openssh-client, rsync, iproute2, make

Each host has a network, processes, mounts, a name and System V objects of its own, an sshd, a home, a /tmp, and the folder /nfs in
common. A fourth is the laptop that `ray up` is given on. The Python environment is this one's: `make setup` finds it done.
Everything is removed at the end; only hosts made here are asked for anything.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.golden import tiny_arrays
from tests.sweeping import assert_one_truth, count_rows, count_told, trials_of

PROJECT = Path(__file__).resolve().parent.parent
NEEDED = ("ip", "unshare", "nsenter", "ssh", "sshd", "rsync", "make")
NAMES = {"head": "10.77.0.1", "worker1": "10.77.0.2", "worker2": "10.77.0.3", "laptop": "10.77.0.9"}
BRIDGE = "aae-bridge"
NUM_TRIALS = 24
SWEEP = f"""
study: {{name: s, num_trials: {NUM_TRIALS}, sampler: {{kind: RandomSampler, seed: 0}}}}
trial:
  data: {{name: npz, folder: /nfs/tiny.npz, num_validation: 105, num_labels: 20}}
  model: {{hidden_dims: [256, 256]}}
  objective: {{adversarial_y: {{}}, classification: {{}}}}
  train: {{epochs: 16, batch_size: 10, labelled_batch_size: 10, sample_every: 0}}
search_space:
  model.z_dim: {{kind: int, low: 2, high: 4000}}
"""
# Runs as the first process of a host. $HERE is its folder, $KEEP what must stay visible of /root and /tmp.
BOOT = """
set -e
hostname "$NAME"
ip link set lo up
mount -t tmpfs tmpfs /run && mkdir /run/sshd
mount -t tmpfs tmpfs /dev/shm
mount --bind "$SHARED" /nfs
for path in $KEEP; do
  mkdir -p "$HERE$path"
  mount --bind "$path" "$HERE$path"
done
mount --rbind "$HERE/root" /root
[ "$NAME" = laptop ] || mount --rbind "$HERE/tmp" /tmp
export HOME=/root && cd /root
exec /usr/sbin/sshd -D -e -f /root/sshd_config
"""


def run(*command: str, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done


def say(text: str) -> None:
    print(f"{time.monotonic() - STARTED:6.0f} s  {text}", flush=True)


class Host:
    def __init__(self, name: str, folder: Path, shared: Path):
        self.name, self.address, self.folder, self.shared = name, NAMES[name], folder / name, shared
        self.space, self.link = f"aae-{name}", f"aae-{name}"[:15]
        self.process: subprocess.Popen[bytes] | None = None
        for part in ("root/.ssh", "root/.ray", "tmp"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "tmp").chmod(0o1777)
        (self.folder / "root").chmod(0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "root" / "host_key"))
        shutil.copy(folder / "key.pub", self.folder / "root" / ".ssh" / "authorized_keys")
        (self.folder / "root" / "sshd_config").write_text(
            "Port 22\nHostKey /root/host_key\nPidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
            "MaxStartups 100\nMaxSessions 100\n"
        )

    def start(self) -> None:
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", self.link, "master", BRIDGE, "up")
        run("ip", "-n", self.space, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        needed = {Path(sys.base_prefix), (PROJECT / ".venv").resolve()}
        kept = [str(path) for path in needed if path.is_relative_to("/root") or path.is_relative_to("/tmp")]
        env = {"PATH": os.environ["PATH"], "NAME": self.name, "HERE": str(self.folder), "SHARED": str(self.shared), "KEEP": " ".join(kept)}
        spaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        log = open(self.folder / "sshd.log", "ab")  # noqa: SIM115 - the host's, as long as it lives
        self.process = subprocess.Popen(["ip", "netns", "exec", self.space, *spaces, "bash", "-c", BOOT], env=env, stdout=log, stderr=log)

    def answers(self) -> bool:
        look = "exec 3<> /dev/tcp/127.0.0.1/22"
        return run("ip", "netns", "exec", self.space, "bash", "-c", look, check=False).returncode == 0

    @property
    def first(self) -> str:
        """The host's first process, as this machine counts."""
        assert self.process is not None
        return run("pgrep", "-P", str(self.process.pid)).stdout.split()[0]

    def inside(self, command: str, check: bool = True, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        plain = {"PATH": os.environ["PATH"], "HOME": "/root", "TERM": "dumb"}
        return run("nsenter", "-t", self.first, "-a", "bash", "-c", command, check=check, timeout=timeout, env=plain)

    def kill(self) -> None:
        """The power goes: every process of the host, and its link."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        run("ip", "netns", "delete", self.space, check=False)
        run("ip", "link", "delete", self.link, check=False)


def prepare(host: Host) -> None:
    """`make setup` finds an environment that is done: this one's, under the path that it will look at."""
    venv = host.folder / "root" / "aae-sweep" / ".venv"
    venv.mkdir(parents=True)
    real = (PROJECT / ".venv").resolve()
    for part in ("bin", "lib"):
        (venv / part).symlink_to(real / part)
    shutil.copy(real / "pyvenv.cfg", venv)
    (venv / ".ready").touch()
    os.utime(venv / ".ready", (2**32, 2**32))


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    since = time.monotonic()
    while not condition():
        if time.monotonic() - since > seconds:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return time.monotonic() - since


def can_run(test: str, needed: tuple[str, ...], packages: str) -> bool:
    """Says what is missing where it cannot."""
    missing = [name for name in needed if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
    if not missing and os.geteuid() == 0:
        return True
    absent = ", ".join(missing) or "root"
    print(f"{test}: needs root and {', '.join(needed)}; missing: {absent}. On Debian: apt-get install {packages}", file=sys.stderr)
    return False


STARTED = time.monotonic()
ON_HEAD = "cd ~/aae-sweep && .venv/bin/python "


def main() -> int:
    if not can_run("cluster-test", NEEDED, "openssh-server openssh-client rsync iproute2 make"):
        return 2
    made = not Path("/nfs").exists()
    folder = Path(tempfile.mkdtemp(prefix="aae-hosts-"))
    shared = folder / "nfs"
    (shared / "runs").mkdir(parents=True)
    Path("/nfs").mkdir(exist_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
    np.savez(shared / "tiny.npz", **tiny_arrays())
    (shared / "s.yaml").write_text(SWEEP)
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "link", "set", BRIDGE, "up")
    hosts = {name: Host(name, folder, shared) for name in NAMES}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it takes everything down
    try:
        for host in hosts.values():
            prepare(host)
            host.start()
        for host in hosts.values():
            wait_for(host.answers, 30, f"the sshd of {host.name}")
        rehearse(hosts, folder, shared / "runs" / "s")
        say("all of it held")
        return 0
    finally:
        for host in hosts.values():
            host.kill()
        run("ip", "link", "delete", BRIDGE, check=False)
        if made:
            Path("/nfs").rmdir()
        if "--keep" not in sys.argv:
            shutil.rmtree(folder, ignore_errors=True)


def up(hosts: dict[str, Host]) -> None:
    """The user's command on the laptop, and the wait until every node has joined."""
    hosts["laptop"].inside(
        f"cd {PROJECT} && RAY_USAGE_STATS_ENABLED=0 .venv/bin/ray up --yes --no-config-cache ~/filled.yaml > ~/up.log 2>&1"
    )
    say("ray up has returned")
    count = "import ray; ray.init(logging_level='ERROR'); print(sum(node['Alive'] for node in ray.nodes()))"
    took = wait_for(lambda: hosts["head"].inside(f'{ON_HEAD} -c "{count}"', check=False).stdout.strip().endswith("3"), 300, "three nodes")
    say(f"all three nodes are there, {took:.0f} s after ray up returned")


def lose_the_head(hosts: dict[str, Host], run_folder: Path) -> None:
    """The head's power goes while a sweep runs; it comes back, `ray up` again, the same command again."""
    head, num = hosts["head"], 12
    up(hosts)
    driver = f"{ON_HEAD} launch.py /nfs/s.yaml study.name=s2 study.num_trials={num} >> ~/second.log 2>&1"
    background = subprocess.Popen(["nsenter", "-t", head.first, "-a", "bash", "-c", f"export HOME=/root; {driver}"])
    wait_for(lambda: count_rows(run_folder) > 12 or background.poll() is not None, 240, "the second sweep's first rows")
    head.kill()
    assert background.wait(30) != 0 and count_told(run_folder) < num, "the sweep ended before the head was killed: nothing was tried"
    say(f"the head was killed with {count_told(run_folder)} trials told")
    head.start()
    wait_for(head.answers, 30, "the head's sshd")
    up(hosts)
    head.inside(driver)
    assert_one_truth(run_folder, num)
    print(head.inside("grep reconciled ~/second.log").stdout, flush=True)
    say(f"{num} trials, {sorted({trial.state.name for trial in trials_of(run_folder)})}, each epoch once")


def end(hosts: dict[str, Host], alive: list[str]) -> None:
    down = hosts["laptop"].inside(f"cd {PROJECT} && .venv/bin/python launch.py cluster down ~/filled.yaml", check=False)
    print(down.stdout + down.stderr, flush=True)
    assert down.returncode == int(len(alive) < 3)
    for name in alive:
        left = hosts[name].inside("pgrep -af 'raylet|gcs_server|ray::|ray/dashboard' | grep -v pgrep || true").stdout
        assert not left.strip(), f"{name}: {left}"
    say(f"no Ray process is left on {', '.join(alive)}")


def fill_in(hosts: dict[str, Host], folder: Path) -> None:
    """What the user does on the laptop before `ray up`."""
    head, laptop = hosts["head"], hosts["laptop"]
    shutil.copy(folder / "key", laptop.folder / "root" / ".ssh" / "id")
    filled = (PROJECT / "cluster.yaml").read_text()
    for name, value in {
        "HEAD_ADDRESS": head.address,
        "WORKER_1_ADDRESS": hosts["worker1"].address,
        "WORKER_2_ADDRESS": hosts["worker2"].address,
        "USER": "root",
        "PRIVATE_KEY_FILE": "~/.ssh/id",
    }.items():
        filled = filled.replace(f"<{name}>", value)
    filled = filled.replace("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=token RAY_worker_niceness=0")  # Ray's 15 is a tenth of a busy machine
    (laptop.folder / "root" / "filled.yaml").write_text(filled)
    token = ".venv/bin/ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token"
    laptop.inside(f"cd {PROJECT} && {token} && .venv/bin/python launch.py cluster check ~/filled.yaml")


def rehearse(hosts: dict[str, Host], folder: Path, run_folder: Path) -> None:
    head, laptop = hosts["head"], hosts["laptop"]
    fill_in(hosts, folder)
    up(hosts)
    checked = head.inside(f"{ON_HEAD} launch.py cluster check /nfs/s.yaml", check=False)
    print(checked.stdout + checked.stderr, flush=True)
    assert checked.returncode == 0

    ask = f"from ray._raylet import GcsClient; print(len(GcsClient(address='{head.address}:6379').get_all_node_info()), 'nodes')"
    for mode in ("token", "disabled"):
        asked = laptop.inside(f'cd {PROJECT} && RAY_AUTH_MODE={mode} timeout 60 .venv/bin/python -c "{ask}"', check=False)
        assert ("3 nodes" in asked.stdout) if mode == "token" else ("InvalidAuthToken" in asked.stderr), asked.stdout + asked.stderr
    say("a client with the token is answered, the same client without it is refused (InvalidAuthToken)")
    for name in ("head", "worker1"):
        print(f"{name} listens:\n" + hosts[name].inside("ss -ltnpH | awk '{print $4, $6}' | sort").stdout, flush=True)

    driver = f"{ON_HEAD} launch.py /nfs/s.yaml >> ~/sweep.log 2>&1"
    background = subprocess.Popen(["nsenter", "-t", head.first, "-a", "bash", "-c", f"export HOME=/root; {driver}"])
    wait_for(lambda: count_rows(run_folder) > 12 or background.poll() is not None, 240, "the sweep's first rows")
    say(f"the sweep runs, {count_told(run_folder)} trials told")
    run("ip", "link", "set", hosts["worker1"].link, "down")
    cut = time.monotonic()
    lost = "grep -c 'goes on from its checkpoint' ~/sweep.log"
    took = wait_for(lambda: int(head.inside(lost, check=False).stdout.strip() or 0) >= 1, 60, "the cut link is noticed")
    say(f"a cut link was noticed after {took:.0f} s")
    time.sleep(max(0.0, 60 - (time.monotonic() - cut)))
    run("ip", "link", "set", hosts["worker1"].link, "up")
    say("the link is back after 60 s")
    hosts["worker2"].kill()
    killed = time.monotonic()
    before = int(head.inside(lost, check=False).stdout.strip() or 0)
    wait_for(lambda: int(head.inside(lost, check=False).stdout.strip() or 0) > before, 60, "the killed host is noticed")
    say(f"a killed host was noticed after {time.monotonic() - killed:.0f} s")
    told = count_told(run_folder)
    head.inside("pkill -9 -f 'launch.py /nfs/s.yaml'")
    assert background.wait(30) != 0 and told < NUM_TRIALS, "the sweep ended before its driver was killed: nothing was tried"
    say(f"the driver was killed with {told} trials told; the same command again")
    head.inside(driver)
    print(head.inside("grep -v '^trial' ~/sweep.log | tail -40").stdout, flush=True)
    assert_one_truth(run_folder, NUM_TRIALS)
    states = sorted({trial.state.name for trial in trials_of(run_folder)})
    say(f"{NUM_TRIALS} trials, {states}, each epoch once")

    end(hosts, ["head", "worker1"])
    hosts["worker2"].start()
    wait_for(hosts["worker2"].answers, 30, "the sshd of worker2")
    lose_the_head(hosts, run_folder.parent / "s2")
    end(hosts, ["head", "worker1", "worker2"])


if __name__ == "__main__":
    sys.exit(main())
