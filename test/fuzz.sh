#!/bin/sh
# Runs every fuzz target for FUZZTIME (30s), one after the other, with FUZZPARALLEL
# (2) processes each. What breaks a target is left in its testdata/fuzz, where
# `go test` runs it from then on. Packages may be named: test/fuzz.sh ./schema
#
# Making inputs shorter has little time: where goroutines make coverage differ from
# run to run the Go tool would do nothing else.
set -u
: "${GO:=go}" "${FUZZTIME:=30s}" "${FUZZPARALLEL:=2}"
[ $# -gt 0 ] || set -- $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
log=$(mktemp) failed=""
trap 'rm -f "$log"' EXIT
for pkg; do
	for target in $($GO test -list '^Fuzz' "$pkg" | grep '^Fuzz'); do
		printf '%s %s\n' "$pkg" "$target"
		if $GO test "$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1s -parallel "$FUZZPARALLEL" >"$log" 2>&1; then
			grep '^fuzz: elapsed' "$log" | tail -1
		elif grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; then
			# The Go tool, which at times takes the end of the time for a failure
			# (golang/go#75804, mended in Go 1.27).
			grep '^fuzz: elapsed' "$log" | tail -1
		else
			cat "$log"
			failed="$failed $pkg:$target"
		fi
	done
done
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
