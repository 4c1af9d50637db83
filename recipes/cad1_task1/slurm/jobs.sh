# What the scripts in this folder have in common; they read it, nobody runs it.

most_restarts=10
again=75                     # exit status of a job that was stopped early: what is left can go on where it was

recipe=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# Read the site's values: read_site FILE
read_site() {
    site=$(realpath -- "$1") || exit 2
    source "$site" || exit 2
}

# Set the options that every job of the site has, in $options: site_options PARTITION CPUS MEMORY TIME
site_options() {
    options=(--parsable --cpus-per-task="$2" --mem="$3" --time="$4" "${sbatch_options[@]}")
    [[ -z $1 ]] || options+=(--partition="$1")
    [[ -z $account ]] || options+=(--account="$account")
}

# Submit a job and print its number: submit LOG_FOLDER LOG_NAME SBATCH_ARGUMENT...
submit() {
    local answer
    answer=$(sbatch "${options[@]}" --output="${1//%/%%}/$2" "${@:3}") || return
    printf '%s\n' "${answer%%;*}"
}

# Quote text for Hydra.
hydra_text() {
    printf "'%s'" "${1//\'/\\\'}"
}

# Run a command and return its status. When the time limit is near (USR1) it gets the signal named first, and
# $time_is_up is set: passing_signals SIGNAL COMMAND...
passing_signals() {
    local near_limit=$1 child="" status signalled=yes
    shift
    trap 'time_is_up=yes signalled=yes; [[ -z $child ]] || kill -s "$near_limit" "$child"' USR1
    trap 'signalled=yes; [[ -z $child ]] || kill -s TERM "$child"' TERM
    "$@" &
    child=$!
    while [[ $signalled ]]; do  # a signal ends "wait" early
        signalled=""
        wait "$child"
        status=$?
    done 2>/dev/null
    trap 'time_is_up=yes' USR1
    trap - TERM
    return "$status"
}

# End this job, to be started again with what is left. The last thing a job does: Slurm kills it meanwhile.
start_again() {
    if ((${SLURM_RESTART_COUNT:-0} < most_restarts)); then
        echo "$(date '+%F %T') stopped early: to be started again (${SLURM_RESTART_COUNT:-0} restarts so far)"
        scontrol requeue "$SLURM_JOB_ID"
    else
        echo "$(date '+%F %T') stopped early after $most_restarts restarts: submit again to go on" >&2
    fi
    exit "$again"
}

# Print how many shards the plan has: count_shards STAGE
count_shards() {
    python -c 'import json, sys; print(len(json.load(open(sys.argv[1], encoding="utf-8"))[sys.argv[2]]))' \
        "$run_folder/plan.json" "$1"
}

# Print for each shard of demixing: its number, the first of the shards of pairs that need it, how many these are.
shards_of_pairs() {
    python -c '
import itertools, json, sys
first = 0
for needs, group in itertools.groupby(shard["needs"] for shard in json.load(open(sys.argv[1], encoding="utf-8"))["pairs"]):
    count = len(list(group))
    print(needs, first, count)
    first += count
' "$run_folder/plan.json"
}

# Print how many jobs an array for so many shards may have here: array_size COUNT
array_size() {
    local most
    most=$(scontrol show config | sed -n 's/^MaxArraySize *= *//p')
    echo $(($1 < ${most:-1001} ? $1 : ${most:-1001}))
}

# Work on the shards of this job, one after the other: work_on STAGE ROUND FIRST COUNT OPTION...
work_on() {
    local stage=$1 round=$2 first=$3 end=$(($3 + $4)) options=("${@:5}") shard status worst=0
    [[ -z $SLURM_MEM_PER_NODE ]] || options+=(--memory-mb "$SLURM_MEM_PER_NODE")
    [[ -z $scratch ]] || options+=(--scratch "$scratch")
    for ((shard = first + SLURM_ARRAY_TASK_ID; shard < end; shard += SLURM_ARRAY_TASK_MAX + 1)); do
        [[ -z $time_is_up ]] || start_again
        echo "$(date '+%F %T') $stage-$shard, round $round, on ${SLURMD_NODENAME:-$(hostname)}"
        passing_signals USR1 cadenza-remix shard work "$run_folder" "$stage" "$shard" --round "$round" "${options[@]}"
        status=$?
        # 128 + USR1: it came before the program could take it
        if ((status == again || status == 128 + $(kill -l USR1))); then
            start_again
        elif ((status >= 128)); then
            exit "$status"
        elif ((status != 0)); then
            worst=$status
        fi
    done
    exit "$worst"
}
