package privileged

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"
)

// Baseline are the capabilities that a container may add under Pod Security's
// "baseline".
var Baseline = map[string]int{
	"AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	"FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID, "KILL": unix.CAP_KILL, "MKNOD": unix.CAP_MKNOD,
	"NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "SETFCAP": unix.CAP_SETFCAP, "SETGID": unix.CAP_SETGID,
	"SETPCAP": unix.CAP_SETPCAP, "SETUID": unix.CAP_SETUID, "SYS_CHROOT": unix.CAP_SYS_CHROOT,
}

// Deployed are the capabilities that the delivered files leave the host's agent,
// without CAP_. The unit, the manifest and the compose file must say the same, and
// none that Baseline does not have.
func Deployed(t *testing.T) []string {
	t.Helper()
	unit := fromUnit(t, "deploy/node/vpp-agent.service")
	for file, got := range map[string][]string{
		"deploy/kubernetes/base/agent.yaml":  fromManifest(t, "deploy/kubernetes/base/agent.yaml"),
		"deploy/compose/docker-compose.yml":  fromCompose(t, "deploy/compose/docker-compose.yml", "node-1-agent"),
		"deploy/compose/docker-compose.yml ": fromCompose(t, "deploy/compose/docker-compose.yml", "node-2-agent"),
	} {
		if !slices.Equal(got, unit) {
			t.Fatalf("%s leaves the agent the capabilities %v, the unit %v", file, got, unit)
		}
	}
	for _, c := range unit {
		if _, ok := Baseline[c]; !ok {
			t.Fatalf("Pod Security's baseline does not allow the capability %s", c)
		}
	}
	return unit
}

func delivered(t *testing.T, file string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) { // up to the module's root
		if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			return string(text)
		}
	}
	t.Fatalf("there is no %s", file)
	return ""
}

func fromUnit(t *testing.T, file string) []string {
	t.Helper()
	for line := range strings.Lines(delivered(t, file)) {
		if list, ok := strings.CutPrefix(line, "CapabilityBoundingSet="); ok {
			out := strings.Fields(strings.ReplaceAll(list, "CAP_", ""))
			slices.Sort(out)
			return out
		}
	}
	t.Fatalf("%s bounds no capabilities", file)
	return nil
}

func fromManifest(t *testing.T, file string) []string {
	t.Helper()
	for doc := range strings.SplitSeq(delivered(t, file), "\n---\n") {
		var set struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct{ Containers []container }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(doc), &set); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range set.Spec.Template.Spec.Containers {
			if set.Kind == "DaemonSet" && c.Name == "agent" {
				caps := c.SecurityContext.Capabilities
				return over(t, file, caps.Drop, caps.Add)
			}
		}
	}
	t.Fatalf("%s has no agent", file)
	return nil
}

type container struct {
	Name            string
	SecurityContext struct {
		Capabilities struct{ Drop, Add []string }
	}
}

func fromCompose(t *testing.T, file, service string) []string {
	t.Helper()
	var lab struct {
		Services map[string]struct {
			Drop []string `json:"cap_drop"`
			Add  []string `json:"cap_add"`
		}
	}
	if err := yaml.Unmarshal([]byte(delivered(t, file)), &lab); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	s := lab.Services[service]
	return over(t, file+": "+service, s.Drop, s.Add)
}

// over is what a container is left.
func over(t *testing.T, what string, drop, add []string) []string {
	t.Helper()
	if !slices.Equal(drop, []string{"ALL"}) {
		t.Fatalf("%s drops %v, want ALL", what, drop)
	}
	return slices.Sorted(slices.Values(add))
}

// Bound runs f, which starts a process, with no more capabilities than keep of
// Baseline in its thread's bounding set: the process, though root, has no others.
// The thread ends with it.
func Bound(t *testing.T, keep []string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- bound(keep, f)
	}()
	return <-done
}

func bound(keep []string, f func() error) error {
	kept := map[int]bool{}
	for name, c := range maps.All(Baseline) {
		kept[c] = slices.Contains(keep, name)
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if kept[c] {
			continue
		}
		// A kernel that does not know it does not give it either.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return f()
}
