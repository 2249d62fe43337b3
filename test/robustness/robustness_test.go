package robustness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binDir is where `make build tools` puts the programs.
func binDir() string { return filepath.Join("..", "..", "bin") }

// TestRobustness is a short run with a seed that stays: `make robustness` runs
// for longer and with others.
func TestRobustness(t *testing.T) {
	for _, name := range []string{"vpp-cni", "vpp-agent", "vpp-container-agent", "vppsim", "host-local", "etcd", "failpoints/vpp-cni"} {
		if _, err := os.Stat(filepath.Join(binDir(), name)); err != nil {
			t.Fatalf("run `make build tools` first: %v", err)
		}
	}
	var out bytes.Buffer
	err := Run(t.Context(), Config{
		Seed: 20, For: 25 * time.Second, BinDir: binDir(), VPP: os.Getenv("VPP"), Heavy: 2, Light: 3, Out: &out,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
}

// TestSameSeed: a seed is the same run, and another seed another one.
func TestSameSeed(t *testing.T) {
	plan := func(seed uint64) string {
		g := newGenerator(seed, 8, faultNames(), []string{"add-before-attach", "del-after-detach", "gc-before-ipam"})
		var b strings.Builder
		for range 50 {
			fmt.Fprint(&b, g.next())
		}
		return b.String()
	}
	if first, second := plan(1), plan(1); first != second {
		t.Error("one seed makes two runs")
	}
	if plan(1) == plan(2) {
		t.Error("two seeds make one run")
	}
	for _, f := range faultNames() {
		if !strings.Contains(plan(1)+plan(2)+plan(3), "FAULT "+f.name+"(") {
			t.Errorf("150 rounds without the fault %s", f.name)
		}
	}
}
