#!/bin/sh
# Bars become training sets: delivered by a fleet, proven against the bars, split, finished, linted, loaded.
# `make dataset-demo` runs it; every line with a $ is a command of your own.
set -eu

folder=${1:-dataset-demo}
bars="--bars examples/data/equity_1d.csv --bars examples/data/index_1d.csv"
rm -rf "$folder"

run() {
	printf '\n\033[1m$ %s\033[0m\n' "$*"
	"$@"
}

run env CANDLEFLEET_ROUTES=examples/training.yaml candlefleet demo --dir "$folder" --no-flower

for set in "$folder/exports/next-close" "$folder/exports/direction"; do
	run candlefleet dataset verify "$set" $bars
	run candlefleet dataset leakcheck "$set" $bars
	run candlefleet dataset finalize "$set"
	run candlefleet dataset splits "$set" --check
done

# As prompts that hold every bar as JSON, the targets of a hundred bars would be cut off: the lint says what fits.
run candlefleet dataset lint "$folder/exports/next-close" --trainer trl-sft --max-length 1024 \
	--style prompt_completion --encoding json || true
run candlefleet dataset finalize "$folder/exports/next-close" --style prompt_completion --encoding bps_close
run candlefleet dataset lint "$folder/exports/next-close" --trainer trl-sft --max-length 1024

run python examples/load_dataset.py "$folder/exports/next-close" "$folder/exports/direction"
run sed -n '/^# /,$p' "$folder/exports/next-close/README.md"
