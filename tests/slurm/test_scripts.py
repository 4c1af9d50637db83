"""Job scripts as whole texts; each is good bash, whatever the folders are called."""

import subprocess
from pathlib import Path

import pytest

from cadenza_remix.errors import InputError
from cadenza_remix.slurm.resources import JobResources
from cadenza_remix.slurm.scripts import job_script, sbatch_word
from cadenza_remix.slurm.settings import JOB_STAGES, read_settings

ODD = Path('/data/it\'s a "run" #1 100% $HOME `x` ü')
RESOURCES = JobResources(cpus=4, n_gpus=1, memory_mb=16384, time_min=25, expected_s=600.0)

DEMIX = """\
#!/bin/bash
# cadenza-remix: takes the songs of a shard apart.
# By hand: sbatch --array=0-3 demix.sbatch OFFSET ROUND     (shards OFFSET+0 to OFFSET+3)
# Each submit and resume writes this file anew: edit a copy, or the settings.
#SBATCH --job-name=cadenza-demix
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16384M
#SBATCH --time=25
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --output=/data/run/slurm/logs/demix-%A_%a.log
#SBATCH --account=abc
#SBATCH "--comment=my run"

# The environment: slurm.environment of the settings.
module load python/3.11 || exit 2
export PATH='/opt/my env/bin':"$PATH"
ulimit -c 0

export CADENZA_REMIX_HOME=/models

set -u
run=/data/run
shard=$((${1:-0} + SLURM_ARRAY_TASK_ID))
round=${2:-1}
job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
restarts=${SLURM_RESTART_COUNT:-0}
echo "shard $shard, round $round, job $job, restart $restarts, on ${SLURMD_NODENAME:-?}, $(date)"

memory_mb=${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * SLURM_CPUS_PER_TASK))}
export TF_NUM_INTRAOP_THREADS=$SLURM_CPUS_PER_TASK
scratch="${TMPDIR:-/tmp}"  # on the node's own disk
set -- cadenza-remix shard work "$run" demix "$shard" --round "$round" --workers 1 --gpus "${CUDA_VISIBLE_DEVICES:-}" \\
  --scratch "$scratch" --deadline-s 90
[ "$memory_mb" -gt 0 ] && set -- "$@" --memory-mb "$memory_mb"
[ -n "${CUDA_VISIBLE_DEVICES:-}" ] || set -- bash -c 'echo "no GPU: CUDA_VISIBLE_DEVICES is empty" >&2; exit 2'

# Signals go on to the work: USR1 = the time limit is near, TERM = end at once. "wait" returns early when one comes.
work=
caught=
trap 'caught=USR1; [ -n "$work" ] && kill -s USR1 "$work" 2>/dev/null' USR1
trap 'caught=TERM; [ -n "$work" ] && kill -s TERM "$work" 2>/dev/null' TERM
"$@" &
work=$!
[ -n "$caught" ] && kill -s "$caught" "$work" 2>/dev/null
while :; do
  caught=
  wait "$work"
  status=$?
  [ -z "$caught" ] && break
done
trap '' USR1 TERM  # from here on this script alone decides
echo "status $status, $(date)"

# An error on this node, such as a GPU that is not there: to another node, where there is one.
if [ "$status" -eq 2 ] && [ "$restarts" -lt 2 ]; then
  others=$(sinfo -h -N -p "$SLURM_JOB_PARTITION" -t idle,mixed,alloc -o '%N %G' |
    grep -v "^$SLURMD_NODENAME " | grep -c ' \\(.*,\\)\\?gpu')
  if [ "${others:-0}" -gt "$restarts" ]; then  # so that one is left without those it was on
    without=$(scontrol -o show job "$job" | sed -n 's/.* ExcNodeList=\\([^( ][^ ]*\\).*/\\1,/p')
    scontrol requeue "$job" && scontrol update jobid="$job" ExcNodeList="$without$SLURMD_NODENAME" && exit 0
  fi
fi
# Stopped early (138: before it could listen): back into the queue. The last action, since Slurm ends us for it.
case $status in 75 | 138)
  [ "$restarts" -lt 10 ] && scontrol requeue "$job" && exit 0 ;;
esac
exit "$status"
"""

COLLECT = """\
#!/bin/bash
# cadenza-remix: collects the scores when all other jobs have ended, and submits again what may yet succeed.
# By hand: sbatch collect.sbatch ROUND LAST_ROUND     (LAST_ROUND = ROUND: submits nothing)
# Each submit and resume writes this file anew: edit a copy, or the settings.
#SBATCH --job-name=cadenza-collect
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16384M
#SBATCH --time=25
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --output=/data/run/slurm/logs/collect-%j.log

# The environment: slurm.environment of the settings.
eval "$(conda shell.bash hook)" || exit 2
conda activate music || exit 2

set -u
run=/data/run
round=${1:-1}
last_round=${2:-$round}
cadenza-remix shard collect "$run"
status=$?
if [ "$status" -eq 75 ] && [ "$round" -lt "$last_round" ]; then
  cadenza-remix slurm resume "$run" --after-round "$round" --last-round "$last_round"
  status=$?
fi
exit "$status"
"""


def text(stage, raw, root=Path("/data/run"), **variables):
    return job_script(stage, root, read_settings(raw, prefix="/opt/python"), RESOURCES, variables=variables).text


def test_demix_whole():
    environment = {"venv": "/opt/my env", "modules": ["python/3.11"], "setup": ["ulimit -c 0"]}
    raw = {"environment": environment, "options": ["--account=abc"], "demix": {"options": ["--comment=my run"]}}
    assert text("demix", raw, CADENZA_REMIX_HOME="/models") == DEMIX


def test_collect_whole():
    assert text("collect", {"environment": {"conda": "music"}}) == COLLECT


def test_pairs_differ_from_demix_only_in_what_they_are():
    raw = {"options": ["--account=abc"], "demix": {"gres": None, "partition": None}}
    expected = text("demix", raw)
    for old, new in [
        ("takes the songs of a shard apart", "enhances and scores the pairs of a shard"),
        ("demix", "pairs"),
        ("export TF_NUM_INTRAOP_THREADS=$SLURM_CPUS_PER_TASK\n", ""),
        ("--workers 1", '--workers "$SLURM_CPUS_PER_TASK"'),
    ]:
        assert old in expected
        expected = expected.replace(old, new)
    assert text("pairs", raw) == expected


def test_demixing_on_cores_names_no_gpu():
    found = text("demix", {"demix": {"gres": None}})
    assert "--workers 1 \\" in found
    assert not any(word in found for word in ("gres", "CUDA", "--gpus", "sinfo", "ExcNodeList"))


def test_several_gpus():
    found = text("demix", {"demix": {"gres": "gpu:a100:2"}})
    assert '--workers 2 --gpus "${CUDA_VISIBLE_DEVICES:-}"' in found
    assert "grep -c ' \\(.*,\\)\\?gpu:a100')" in found


@pytest.mark.parametrize("option", ["--constraint=fast", "-xnode1", "--nodelist=node1"])
def test_a_site_that_names_nodes_keeps_its_jobs_there(option):
    assert "ExcNodeList" not in text("demix", {"options": [option]})


def test_deadline_and_restarts():
    found = text("pairs", {"signal_s": 60, "most_restarts": 0})
    assert "--signal=B:USR1@60" in found
    assert "--deadline-s 30" in found
    assert '[ "$restarts" -lt 0 ]' in found


@pytest.mark.parametrize("stage", JOB_STAGES)
@pytest.mark.parametrize("gres", [None, "gpu:1"])
def test_bash_understands_them(stage, gres):
    raw = {"demix": {"gres": gres}, "environment": {"venv": str(ODD), "modules": ["a b"]}, "scratch": 'a "b" $TMPDIR'}
    script = text(stage, raw, ODD, CADENZA_REMIX_HOME=str(ODD))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, timeout=20)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("scratch", "environment", "expected"),
    [
        ("${TMPDIR:-/tmp}", {}, "/tmp"),
        ("${TMPDIR:-/tmp}", {"TMPDIR": "/a b"}, "/a b"),
        ("$TMPDIR/x", {"TMPDIR": "/a b"}, "/a b/x"),
        ("/local/${USER}_1", {"USER": "me"}, "/local/me_1"),
        ('/x "$(date)" `date` \\ $', {}, '/x "$(date)" `date` \\ $'),
    ],
)
def test_scratch_is_filled_in_where_the_job_runs(scratch, environment, expected):
    line = next(line for line in text("pairs", {"scratch": scratch}).splitlines() if line.startswith("scratch="))
    command = ["bash", "-uc", line + '\nprintf %s "$scratch"']
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == expected


def test_scratch_that_is_not_set_is_told():
    line = next(line for line in text("pairs", {"scratch": "$NODE_DISK"}).splitlines() if line.startswith("scratch="))
    done = subprocess.run(["bash", "-uc", line], env={}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "NODE_DISK: is not set on this node, see slurm.scratch" in done.stderr


@pytest.mark.parametrize("name", ["a\\b", "a\nb"])
def test_folders_that_slurm_cannot_write_logs_into(name):
    with pytest.raises(InputError, match="Slurm cannot write logs there"):
        text("pairs", {}, Path("/data") / name)


def test_words_of_sbatch_lines():
    assert sbatch_word("--output=/a b/%A_%a") == '"--output=/a b/%A_%a"'
    assert sbatch_word('--comment=say "x\\y"') == '"--comment=say \\"x\\\\y\\""'
