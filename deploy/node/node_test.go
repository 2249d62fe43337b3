// Package node_test holds the files for a plain node to what the programs know
// and to what systemd makes of them. That they work together is test/node's.
package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema/config"
	"github.com/vpp-cni/vpp-cni/test/privileged"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// notSet finds the keys that config.yaml names without setting them.
var notSet = regexp.MustCompile(`(?m)^( *)#([a-zA-Z]+:)`)

// TestConfig: config.yaml says the defaults where it does not say otherwise.
func TestConfig(t *testing.T) {
	t.Parallel()
	got, err := config.Load("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.LogFile, want.Agent.SocketGroup = "/var/log/vpp-cni/plugin.log", "vpp-cni"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("config.yaml against the defaults (-want +got):\n%s", d)
	}
}

// TestEveryKey: config.yaml names every key that there is, with a comment above
// it, and none that there is not.
func TestEveryKey(t *testing.T) {
	t.Parallel()
	text := read(t, "config.yaml")
	if _, err := config.Parse("config.yaml with every key set", []byte(notSet.ReplaceAllString(text, "$1$2"))); err != nil {
		t.Error(err)
	}
	want := keys(reflect.TypeFor[config.File](), "")
	named, bare := named(text)
	if d := cmp.Diff(want, named); d != "" {
		t.Errorf("keys (-known +named):\n%s", d)
	}
	if len(bare) > 0 {
		t.Errorf("keys without a comment above them: %v", bare)
	}
	for _, key := range []string{"node", "agent.leaseTTL", "etcd.passwordFile"} {
		if !slices.Contains(want, key) {
			t.Fatalf("%s is not among the known keys %v", key, want)
		}
	}
}

// keys are the paths of a type's fields, as the decoder knows them.
func keys(typ reflect.Type, prefix string) []string {
	var out []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, prefix+name)
		if f.Type.Kind() == reflect.Struct {
			out = append(out, keys(f.Type, prefix+name+".")...)
		}
	}
	slices.Sort(out)
	return out
}

// indent is how many spaces a level of keys is further in.
const indent = 2

var keyLine = regexp.MustCompile(`^( *)#?([a-zA-Z]+):`)

// named are the paths of the keys that text names, and those of them that no
// comment stands above: a row of keys may share one.
func named(text string) (all, bare []string) {
	var above []string // the keys that the line's stands in, by depth
	explained := false
	for line := range strings.Lines(text) {
		m := keyLine.FindStringSubmatch(line)
		if m == nil {
			explained = strings.HasPrefix(strings.TrimSpace(line), "# ")
			continue
		}
		above = append(above[:min(len(m[1])/indent, len(above))], m[2])
		all = append(all, strings.Join(above, "."))
		if !explained && m[2] != "etcd" {
			bare = append(bare, all[len(all)-1])
		}
	}
	slices.Sort(all)
	return all, bare
}

// TestGroup: the agent is a member of the group that it gives sockets to, which
// there is.
func TestGroup(t *testing.T) {
	t.Parallel()
	f, err := config.Load("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\ng " + f.Agent.SocketGroup + " 65532 -\n"; !strings.Contains(read(t, "vpp-cni.sysusers"), want) {
		t.Errorf("vpp-cni.sysusers has no line %q", strings.TrimSpace(want))
	}
	if want := "\nSupplementaryGroups=" + f.Agent.SocketGroup + "\n"; !strings.Contains(read(t, "vpp-agent.service"), want) {
		t.Errorf("vpp-agent.service has no line %q", strings.TrimSpace(want))
	}
}

// tool is a program of the node's system; where it is missing the test is
// skipped, loudly, and in CI it fails.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	text := fmt.Sprintf("%s NOT RUN: THERE IS NO %s HERE (package %s)", t.Name(), strings.ToUpper(name), pkg)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	fmt.Fprintln(os.Stderr, text)
	t.Skip(text)
	return ""
}

// exposure is the most that systemd may find exposed, in tenths of its scale of 10.
const exposure = "23"

// TestUnit lets systemd read the unit, and judge what it leaves open.
func TestUnit(t *testing.T) {
	t.Parallel()
	analyze := tool(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	program := filepath.Join(dir, "vpp-agent")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(dir, "vpp-agent.service")
	text := strings.ReplaceAll(read(t, "vpp-agent.service"), "/usr/local/bin/vpp-agent", program)
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it does not know it warns of, and goes on.
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "vpp-agent.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold="+exposure, "--no-pager", unit)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
}

// TestLogrotate lets logrotate turn the plugin's log.
func TestLogrotate(t *testing.T) {
	t.Parallel()
	logrotate := tool(t, "logrotate", "logrotate")
	privileged.Require(t, "for logrotate's su")
	dir := t.TempDir()
	file, rules := filepath.Join(dir, "plugin.log"), filepath.Join(dir, "rules")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(rules, strings.Replace(read(t, "vpp-cni.logrotate"), "/var/log/vpp-cni", dir, 1))
	for _, text := range []string{"first\n", "second\n", "third\n"} {
		write(file, text)
		cmd := exec.CommandContext(t.Context(), logrotate, "--force", "--state", filepath.Join(dir, "state"), rules)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("logrotate: %v\n%s", err, out)
		}
	}
	if got := read(t, file+".1"); got != "third\n" {
		t.Errorf("the log before: %q", got)
	}
	for _, name := range []string{".2.gz", ".3.gz"} {
		if _, err := os.Stat(file + name); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("there is a new log, which the plugin makes when it needs it")
	}
}
