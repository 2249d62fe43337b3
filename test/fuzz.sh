#!/bin/sh
# Runs every fuzz target for FUZZTIME (30s), one after the other, with FUZZPARALLEL
# (2) processes each. What breaks a target is left in its testdata/fuzz, where
# `go test` runs it from then on. Packages may be named: test/fuzz.sh ./schema
#
# KEEP=10 fills each target's testdata/fuzz up to ten inputs, of up to 4 KiB, that
# the Go tool has found interesting, now or earlier: some of the first and some of
# the last, which get further.
#
# Making inputs shorter has little time: where goroutines make coverage differ from
# run to run the Go tool would do nothing else.
set -u
: "${GO:=go}" "${FUZZTIME:=30s}" "${FUZZPARALLEL:=2}" "${KEEP:=0}"
[ $# -gt 0 ] || set -- $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
log=$(mktemp) failed=""
trap 'rm -f "$log"' EXIT

# keep copies inputs of a target under the Go tool's names, which are hashes, and
# runs what is kept then: one that is older than the target's parameters fails.
keep() { # package target
	found=$($GO env GOCACHE)/fuzz/$($GO list "$1")/$2
	kept=$($GO list -f '{{.Dir}}' "$1")/testdata/fuzz/$2
	[ -d "$found" ] && mkdir -p "$kept" || return 0
	room=$((KEEP - $(ls "$kept" | wc -l)))
	[ "$room" -gt 0 ] || return 0
	new=$(cd "$found" && ls -tr | while read -r name; do
		[ -e "$kept/$name" ] || find "$name" -type f -size -4097c
	done)
	total=$(echo "$new" | grep -c .)
	echo "$new" | awk -v room="$room" -v total="$total" \
		'NF && (total <= room || int(NR * room / total) > int((NR - 1) * room / total))' |
		while read -r name; do cp "$found/$name" "$kept/"; done
	rmdir "$kept" 2>/dev/null # none was found
	$GO test "$1" -run "^$2\$" >"$log" 2>&1 || { cat "$log"; return 1; }
}

for pkg; do
	for target in $($GO test -list '^Fuzz' "$pkg" | grep '^Fuzz'); do
		printf '%s %s\n' "$pkg" "$target"
		# The Go tool at times takes the end of the time for a failure
		# (golang/go#75804, mended in Go 1.27).
		if $GO test "$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1s -parallel "$FUZZPARALLEL" >"$log" 2>&1 ||
			grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; then
			grep '^fuzz: elapsed' "$log" | tail -1
			[ "$KEEP" -eq 0 ] || keep "$pkg" "$target" || failed="$failed $pkg:$target(kept)"
		else
			cat "$log"
			failed="$failed $pkg:$target"
		fi
	done
done
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
