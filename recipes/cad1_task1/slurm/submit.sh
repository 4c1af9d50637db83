#!/bin/bash
# Plans a run and submits it: an array job that demixes, for each of its jobs an array job that enhances and scores what
# it has demixed, and the job that collects the scores.
#     ./submit.sh [SITE.CONF]
# Submitted once more it does what is missing, by the plan of the first time.
set -eo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$here/jobs.sh"
read_site "${1:-$here/site.conf}"
environment

settings=$(<"$run_settings")
quoted=${data_folder//\'/\'\'}  # as YAML writes it within quotes
planned=$(mktemp --suffix=.yaml)
trap 'rm -f -- "$planned"' EXIT
printf '%s\n' "${settings//DATA_FOLDER/"$quoted"}" >"$planned"
cadenza-remix shard plan "$planned" --out "$run_folder" --demix-shards "$demix_jobs" --pairs-shards "$pairs_jobs"

round=1
for journal in "$run_folder"/journal/*/*.jsonl; do
    number=${journal##*/}
    number=${number%%-*}
    [[ $number == *[!0-9]* ]] || ((10#$number < round)) || round=$((10#$number + 1))
done
logs=$run_folder/slurm/logs
mkdir -p "$logs"

n_demix=$(count_shards demix)
n_jobs=$(array_size "$n_demix")
site_options "${gpu_partition:-$partition}" "$demix_cpus" "$demix_memory" "$demix_time"
((gpus == 0)) || options+=(--gres="gpu:$gpus")
options+=("${demix_options[@]}")
demix=$(submit "$logs" demix-%A_%a.log --array="0-$((n_jobs - 1))" "$here/demix.sbatch" "$site" "$here" "$round")
echo "round $round in $run_folder; logs in $logs"
echo "demix: job $demix, shards 0 to $((n_demix - 1))"

site_options "$partition" "$cpus" "$memory" "$time"
all=$demix
while read -r needs first count; do
    pairs=$(submit "$logs" pairs-%A_%a.log --array="0-$(($(array_size "$count") - 1))" \
        --dependency="afterany:${demix}_$((needs % n_jobs))" \
        "$here/pairs.sbatch" "$site" "$here" "$round" "$first" "$count")
    echo "pairs: job $pairs, shards $first to $((first + count - 1)), after ${demix}_$((needs % n_jobs))"
    all+=:$pairs
done < <(shards_of_pairs)

site_options "$partition" 1 4G 1:00:00
echo "collect: job $(submit "$logs" collect-%j.log --dependency="afterany:$all" \
    "$here/collect.sbatch" "$site" "$here"), after all"
