#!/bin/bash
# Submits the recipe as an array job, one batch of pairs each, and the job that merges their scores.
#     ./submit_batches.sh [SITE.CONF]
# Submitted once more it does what is missing.
set -eo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$here/jobs.sh"
read_site "${1:-$here/site.conf}"
logs=$exp_folder/slurm
mkdir -p "$logs"

site_options "$partition" "$cpus" "$memory" "$time"
batches=$(submit "$logs" batches-%A_%a.log --array="0-$((n_batches - 1))" "$here/batches.sbatch" "$site" "$here")
site_options "$partition" 1 2G 1:00:00
merge=$(submit "$logs" merge-%j.log --dependency="afterany:$batches" "$here/merge.sbatch" "$site" "$here")

echo "batches: job $batches (0 to $((n_batches - 1))), then merge: job $merge; logs in $logs"
