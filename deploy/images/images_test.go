package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const small = `# a comment
ARG VERSION=none
FROM scratch AS first
ARG VERSION
LABEL a="x \"y\"" \
      # and a comment in between
      version="v$VERSION"
COPY program /program
COPY --chown=65532:7 data /var/lib/data
USER 65532:65532
ENTRYPOINT ["/program", "serve"]

FROM scratch AS second
COPY program /opt/bin/other
ENTRYPOINT ["/opt/bin/other"]
`

// context makes a build context, older or newer, under another umask.
func context(t *testing.T, mode os.FileMode, when time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"program": "the program", "data/b": "b", "data/a/c": "c"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700|mode&0o55), os.WriteFile(path, []byte(content), 0o600|mode&0o44), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "program"), 0o700|mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func first(t *testing.T, version string) *stage {
	t.Helper()
	stages, err := parseDockerfile(small, map[string]string{"VERSION": version})
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 || stages[1].name != "second" {
		t.Fatalf("stages %v", stages)
	}
	return stages[0]
}

// TestReproducible: neither time nor umask of the checkout changes a bit, and
// every other thing does.
func TestReproducible(t *testing.T) {
	t.Parallel()
	build := func(version, arch string, mode os.FileMode, when time.Time, edit bool) (string, []byte) {
		t.Helper()
		dir := context(t, mode, when)
		if edit {
			if err := os.WriteFile(filepath.Join(dir, "data/b"), []byte("B"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		id, err := first(t, version).build(&b, dir, platform{arch, time.Unix(1, 0).UTC()}, []string{"x:y"})
		if err != nil {
			t.Fatal(err)
		}
		return id, b.Bytes()
	}
	id, archive := build("1", "amd64", 0o055, time.Now(), false)
	again, same := build("1", "amd64", 0, time.Unix(5e8, 0), false)
	if id != again || !bytes.Equal(archive, same) {
		t.Errorf("two images of the same: %s and %s", id, again)
	}
	for name, other := range map[string]string{
		"version": first2(build("2", "amd64", 0, time.Now(), false)), "arch": first2(build("1", "arm64", 0, time.Now(), false)),
		"content": first2(build("1", "amd64", 0, time.Now(), true)),
	} {
		if other == id {
			t.Errorf("another %s: the same image", name)
		}
	}
}

func first2(id string, _ []byte) string { return id }

func TestLayer(t *testing.T) {
	t.Parallel()
	layer, err := first(t, "1").layer(context(t, 0, time.Now()), platform{"amd64", time.Unix(77, 0)})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for in := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, fmt.Sprintf("%s %d:%d %s %d", h.FileInfo().Mode(), h.Uid, h.Gid, h.Name, h.ModTime.Unix()))
	}
	want := []string{
		"-rwxr-xr-x 0:0 program 77", "drwxr-xr-x 0:0 var/ 77", "drwxr-xr-x 0:0 var/lib/ 77",
		"drwxr-xr-x 65532:7 var/lib/data/ 77", "drwxr-xr-x 65532:7 var/lib/data/a/ 77", "-rw-r--r-- 65532:7 var/lib/data/a/c 77", "-rw-r--r-- 65532:7 var/lib/data/b 77",
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("-want +have\n%s", d)
	}
}

func TestNotUnderstood(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                        "no FROM",
		"RUN x":                                   "line 1: RUN before the first FROM",
		"FROM debian AS x":                        "line 1: FROM debian AS x",
		"FROM scratch":                            "only",
		"FROM scratch AS a\nRUN x":                "line 2: RUN is not understood",
		"FROM scratch AS a\nARG X":                "not declared",
		"FROM scratch AS a\nLABEL a=b":            "double quotes",
		"FROM scratch AS a\nLABEL a":              "a value is missing",
		"FROM scratch AS a\nCOPY a b c":           "only",
		"FROM scratch AS a\nCOPY a b":             "only",
		"FROM scratch AS a\nCOPY --chown=me a /b": "only numbers",
		"FROM scratch AS a\n\n# c\nENTRYPOINT x":  "line 4: ENTRYPOINT x",
		"FROM scratch AS a\nCOPY --from=b a /b\nUSER me\n": "only",
	} {
		if _, err := parseDockerfile(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestDockerAgrees: docker reads the archive, gives it the same id, and its own
// build of the same Dockerfile has the same configuration.
func TestDockerAgrees(t *testing.T) {
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		t.Skipf("NO DOCKER HERE: %v %s", err, out)
	}
	dir := context(t, 0o055, time.Now())
	tag := "vpp-cni-test/first:" + filepath.Base(dir)
	built := tag + "-built"
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", tag, built).Run() })
	docker := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("docker", args...)
		cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	archive, file := filepath.Join(t.TempDir(), "first.tar"), filepath.Join(dir, "Dockerfile")
	out, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	id, err := first(t, "1").build(out, dir, platform{"amd64", time.Unix(77, 0).UTC()}, []string{tag})
	if err = errors.Join(err, out.Close(), os.WriteFile(file, []byte(small), 0o600)); err != nil {
		t.Fatal(err)
	}
	docker("load", "-i", archive)
	if got := docker("inspect", "-f", "{{.Id}}", tag); got != id {
		t.Errorf("docker's id is %s, ours %s", got, id)
	}
	docker("build", "-q", "--target", "first", "--build-arg", "VERSION=1", "-t", built, dir)
	const shown = "{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Labels}}"
	if ours, theirs := docker("inspect", "-f", shown, tag), docker("inspect", "-f", shown, built); ours != theirs {
		t.Errorf("docker builds\n%s, we build\n%s", theirs, ours)
	}
}
