#!/usr/bin/env bash
# A sweep under Slurm: one Ray head and a worker on every further node of the job, until the sweep is done. From the repository's
# folder, on a file system that every node sees:
#
#   sbatch clusters/slurm.sh sweeps/semi.yaml [path=value ...]
#   sbatch --nodes=4 --gres=gpu:2 --time=12:00:00 clusters/slurm.sh sweeps/semi.yaml 'study.resources_per_trial={cpu: 1, gpu: 0.25}'
#
# 300 s before the time limit Slurm sends USR1 to this shell alone (--signal=B:USR1@300). The shell passes it on to launch.py, which
# stops each trial at the end of its epoch, writes the page, waits for it, and puts the job back into the queue, where it goes on. So
# the 300 s must be longer than an epoch, the report and Ray's end. --requeue does the same for a node that is lost and for
# preemption. A sweep that is done, or has failed, is not queued again. How far this has been run: docs/cluster.md.
#
#SBATCH --job-name=aae-sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=aae-sweep-%j.log

set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?start it with sbatch}" || exit 2
[ $# -ge 1 ] || { echo "usage: sbatch $0 sweeps/NAME.yaml [path=value ...]" >&2; exit 2; }
ray=$PWD/.venv/bin/ray python=$PWD/.venv/bin/python
[ -x "$ray" ] || { echo "$PWD/.venv: not there; make setup, on this file system, before sbatch" >&2; exit 2; }

# A token for this job alone. Ports and Ray's files are the job's own too, so that two jobs on one node do not meet.
state=$HOME/.aae-sweep-$SLURM_JOB_ID
(
  umask 077
  mkdir -p "$state"
  [ -s "$state/token" ] || "$python" -c 'import secrets; print(secrets.token_hex(32), end="")' > "$state/token"
)
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$state/token RAY_USAGE_STATS_ENABLED=0
export RAY_health_check_initial_delay_ms=2000 RAY_health_check_period_ms=1000
export RAY_health_check_timeout_ms=2000 RAY_health_check_failure_threshold=3
cores=${SLURM_CPUS_PER_TASK:-1}
temp=/tmp/ray-$SLURM_JOB_ID  # on the node's own disk, and short: Ray's sockets lie in it, and their paths have at most 107 bytes

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
step=(srun --nodes=1 --ntasks=1 --cpus-per-task="$cores" --overlap)
start_ray() {  # node, how it joins; srun itself is the job, so that a signal to it reaches Ray
  local node=$1
  shift
  "${step[@]}" --nodelist="$node" "$ray" start --block --num-cpus="$cores" --temp-dir="$temp" "$@" > "$state/$node.log" 2>&1 &
}
finish() {  # ends the steps, and with them what they started
  kill $(jobs -p) 2> /dev/null
  wait
  for node in "${nodes[@]}"; do
    "${step[@]}" --nodelist="$node" rm -rf "$temp" 2> /dev/null  # of a lost job no step starts any more
  done
}

# Set before Ray starts, which may take minutes: unheard, the signal would end the shell and the job with it.
stopped= driver=
trap 'stopped=1; [ -z "$driver" ] || kill -USR1 "$driver" 2> /dev/null' USR1

address=$("${step[@]}" --nodelist="${nodes[0]}" hostname -I | awk '{print $1}')
export RAY_ADDRESS=$address:$((20000 + SLURM_JOB_ID % 20000))
for _ in 1 2 3; do  # on a busy node a head may take longer than its client server waits for it, 30 s, and then it ends
  start_ray "${nodes[0]}" --head --port="${RAY_ADDRESS##*:}" --ray-client-server-port=$((40000 + SLURM_JOB_ID % 20000)) \
    --node-ip-address="$address" --include-dashboard=false  # which would start before the node does
  head=$!
  for _ in $(seq 240); do
    (exec 3<> "/dev/tcp/$address/${RAY_ADDRESS##*:}") 2> /dev/null && break
    sleep 0.5
  done
  "$python" -c 'import ray; ray.init(logging_level="ERROR", log_to_driver=False)' > "$state/start.log" 2>&1 && break
  kill "$head" 2> /dev/null
  wait "$head"
done
for node in "${nodes[@]:1}"; do
  start_ray "$node" --address="$RAY_ADDRESS"
done
"$python" -c '
import sys, time
import ray
ray.init(logging_level="ERROR", log_to_driver=False)
until, wanted = time.monotonic() + 120, int(sys.argv[1])
while (alive := sum(node["Alive"] for node in ray.nodes())) < wanted and time.monotonic() < until:
    time.sleep(1)
print(f"{alive} of {wanted} nodes have joined; what Ray says on each is in {sys.argv[2]}/NODE.log", flush=True)
' "${#nodes[@]}" "$state"

# In the background, so that the shell is free for signals.
code=138  # as of a launch.py that the signal ended before its first trial
if [ -z "$stopped" ]; then
  "$python" launch.py "$@" &
  driver=$!
  trap : TERM  # Slurm sends it to every process of a lost or preempted job; a driver without its shell may be one that Slurm never finds
  while :; do  # a trapped signal ends `wait` early
    wait "$driver"
    code=$?
    kill -0 "$driver" 2> /dev/null || break
  done
fi

finish
if [ -n "$stopped" ] && { [ "$code" -eq 0 ] || [ "$code" -eq 138 ]; }; then
  echo "the time is up: back into the queue"
  exec scontrol requeue "$SLURM_JOB_ID"
fi
rm -f "$state/token"
[ "$code" -ne 0 ] || rm -rf "$state"
exit "$code"
