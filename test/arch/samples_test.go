package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	podsDir = "/run/vpp-cni/pods"
	// mounts is how often samples and lab mount a pod's directory: a VPP and an agent
	// each, in one pod template and in four of the lab's pods.
	mounts = 2 + 8
)

// TestSamplesMountReadOnly: what people copy mounts a pod's directory read-only.
// Who can write there can put something else into the place of a socket that VPP
// is about to make.
func TestSamplesMountReadOnly(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(filepath.Join(root, "deploy"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, doc := range strings.Split(string(text), "\n---\n") {
			found += inPods(t, path, parse(t, path, doc))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "deploy/compose/docker-compose.yml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found += inCompose(t, path, parse(t, path, string(text)))
	if found != mounts {
		t.Errorf("%d mounts of a pod's directory in deploy/, %d are known", found, mounts)
	}
}

func parse(t *testing.T, path, text string) any {
	t.Helper()
	var out any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return out
}

// field is a field of a mapping; nil where v is none or has no such field.
func field[T any](v any, name string) T {
	m, _ := v.(map[string]any)
	out, _ := m[name].(T)
	return out
}

// inPods checks and counts the mounts in the pods of a Kubernetes object, wherever
// in it they are.
func inPods(t *testing.T, path string, v any) int {
	t.Helper()
	found := 0
	if list, ok := v.([]any); ok {
		for _, item := range list {
			found += inPods(t, path, item)
		}
	}
	object, _ := v.(map[string]any)
	for _, f := range object {
		found += inPods(t, path, f)
	}
	volumes := map[string]bool{}
	for _, volume := range field[[]any](v, "volumes") {
		if dir := field[string](field[any](volume, "hostPath"), "path"); dir == podsDir {
			volumes[field[string](volume, "name")] = true
		}
	}
	for _, kind := range []string{"initContainers", "containers"} {
		for _, c := range field[[]any](v, kind) {
			for _, m := range field[[]any](c, "volumeMounts") {
				if !volumes[field[string](m, "name")] {
					continue
				}
				found++
				if !field[bool](m, "readOnly") || field[string](m, "subPathExpr") != "$(POD_UID)" {
					t.Errorf("%s: container %s mounts %s by %v: it must be readOnly: true, subPathExpr: $(POD_UID)", path, field[string](c, "name"), podsDir, m)
				}
			}
		}
	}
	return found
}

// inCompose does so for the lab, where a pod's directory is a volume.
func inCompose(t *testing.T, path string, v any) int {
	t.Helper()
	volumes := field[map[string]any](v, "volumes")
	found := 0
	for service, s := range field[map[string]any](v, "services") {
		for _, m := range field[[]any](s, "volumes") {
			text, _ := m.(string)
			name, at, _ := strings.Cut(text, ":")
			if device := field[string](field[any](volumes[name], "driver_opts"), "device"); !strings.Contains(device, "/pods/") {
				continue
			}
			found++
			if !strings.HasSuffix(at, ":ro") {
				t.Errorf("%s: %s mounts %s: it must end in :ro", path, service, text)
			}
		}
	}
	return found
}
