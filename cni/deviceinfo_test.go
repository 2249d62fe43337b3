package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpp-cni/vpp-cni/schema"
)

// asking is a world whose runtime asks for device information in the file that is
// given back.
func asking(t *testing.T) (w *world, file, field string) {
	t.Helper()
	w = newWorld(t)
	dir := filepath.Join(w.dir, "devinfo", "cni")
	w.nodeFile("deviceInfoDir: " + dir + "\n")
	file = filepath.Join(dir, "default-blue-"+testContainer+"_net1")
	return w, file, asked(file)
}

func asked(file string) string {
	return fmt.Sprintf(`"runtimeConfig":{"CNIDeviceInfoFile":%q}`, file)
}

func absent(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", file, err)
	}
}

// TestDeviceInfo: the specification's form, the same when ADD is repeated, gone
// with DEL.
func TestDeviceInfo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ host, want string }{
		"memif":                  {routedHost, `{"type":"memif","version":"1.1.0","memif":{"role":"slave","path":"PATH/net1.memif","mode":"ethernet"}}`},
		"memif, the pod serves":  {`"host":{"memif":{"role":"slave","mode":"ip"}}`, `{"type":"memif","version":"1.1.0","memif":{"role":"master","path":"PATH/net1.memif","mode":"ip"}}`},
		"vhost-user":             {`"host":{"iftype":"vhostuser"}`, `{"type":"vhost-user","version":"1.1.0","vhost-user":{"mode":"client","path":"PATH/net1.vhost"}}`},
		"vhost-user, pod serves": {`"host":{"iftype":"vhostuser","vhost":{"mode":"client"}}`, `{"type":"vhost-user","version":"1.1.0","vhost-user":{"mode":"server","path":"PATH/net1.vhost"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, file, field := asking(t)
			conf := w.conf(tc.host, field)
			for range 2 {
				w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).ok(t)
				var got, want any
				mustJSON(t, readFile(t, file), &got)
				mustJSON(t, strings.ReplaceAll(tc.want, "PATH", "/run/vpp-cni/pods/u1"), &want)
				if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
				st, err := os.Stat(file)
				if err != nil || st.Mode() != 0o444 {
					t.Errorf("mode %v, %v", st.Mode(), err)
				}
			}
			if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
				t.Errorf("%v, %v, want one file", entries, err)
			}
			for range 2 {
				w.call(runtimeOf("DEL").saying(ofPod("u1")), conf).ok(t)
				absent(t, file)
			}
			w.nothingLeft()
		})
	}
}

// TestDeviceInfoNotAsked: nothing is written where nobody asks.
func TestDeviceInfoNotAsked(t *testing.T) {
	t.Parallel()
	w, file, _ := asking(t)
	w.call(runtimeOf("ADD"), w.conf(routedHost, `"runtimeConfig":{}`)).ok(t)
	absent(t, filepath.Dir(file))
	w.call(runtimeOf("DEL"), w.conf(routedHost)).ok(t)
}

// TestDeviceInfoPath: whoever writes a network names no other file of the node.
func TestDeviceInfoPath(t *testing.T) {
	t.Parallel()
	w, file, _ := asking(t)
	dir := filepath.Dir(file)
	for _, d := range []string{"sub", "there"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	passwd := filepath.Join(w.dir, "passwd")
	writeFile(t, passwd, `{"type":"memif","memif":{"path":"/run/vpp-cni/pods/u1/net1.memif"}}`)
	if err := os.Symlink(passwd, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"relative": "devinfo", "empty": "", "elsewhere": passwd, "above": dir + "/../passwd", "below": dir + "/sub/file", "the directory": dir + "/",
		"a directory": dir + "/there", "dots": dir + "/..", "a link": dir + "/link", "a FIFO": dir + "/fifo",
	} {
		before := readFile(t, passwd)
		conf := w.conf(routedHost, asked(path))
		w.call(runtimeOf("ADD").saying(ofPod("u1")), conf).fails(t, 7, "runtimeConfig.CNIDeviceInfoFile")
		w.nothingLeft()
		// The ADD was refused, but a DEL that fails keeps its pod for ever.
		w.call(runtimeOf("DEL").saying(ofPod("u1")), conf).ok(t)
		if after := readFile(t, passwd); before != after {
			t.Errorf("%s: the file outside is %q", name, after)
		}
	}
}

// TestDeviceInfoCannotBeWritten: the ADD fails and leaves nothing.
func TestDeviceInfoCannotBeWritten(t *testing.T) {
	t.Parallel()
	w, file, field := asking(t)
	if err := os.MkdirAll(filepath.Dir(filepath.Dir(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Dir(file), "a file in the directory's place")
	conf := w.conf(routedHost, w.hostLocal("host-local"), field)
	w.call(runtimeOf("ADD"), conf).fails(t, 5, "runtimeConfig.CNIDeviceInfoFile cannot be written")
	w.eventually("the agent has removed it", func() bool { return len(w.stored()) == 0 })
	w.nothingLeft()
	w.call(runtimeOf("DEL"), conf).ok(t)
}

// TestDeviceInfoOfFailedAdd: an ADD that fails after it has written takes the file
// back.
func TestDeviceInfoOfFailedAdd(t *testing.T) {
	t.Parallel()
	w, file, field := asking(t)
	p := w.prepare("vpp-cni", runtimeOf("ADD"), w.conf(routedHost, field))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	p.cmd.Stdout = full
	if err := p.cmd.Run(); err == nil {
		t.Fatal("an ADD whose answer nobody can have succeeded")
	}
	absent(t, file)
	w.nothingLeft()
}

// TestDeviceInfoOfOthers: what is there and not this pod's stays, whoever wrote it.
func TestDeviceInfoOfOthers(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a device plugin's":  `{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:01:02.2"}}`,
		"another pod's":      `{"type":"memif","version":"1.1.0","memif":{"role":"slave","path":"/run/vpp-cni/pods/u2/net1.memif","mode":"ethernet"}}`,
		"no JSON":            "x",
		"empty":              "",
		"another's own form": `["pods","u1"]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, file, field := asking(t)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, text)
			conf := w.conf(routedHost, field)
			for _, verb := range []string{"ADD", "DEL"} {
				w.call(runtimeOf(verb).saying(ofPod("u1")), conf).ok(t)
				if got := readFile(t, file); got != text {
					t.Errorf("after %s: %q", verb, got)
				}
			}
		})
	}
}

// TestInfoOf: a pod's name is compared as a whole.
func TestInfoOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/run/vpp-cni/pods/u1/net1.memif": true, "/x/pods/u1/y": true,
		"/run/vpp-cni/pods/u10/net1.memif": false, "/u1/net1.memif": false, "/pods/u1": false, "": false, "u1/x": false,
	} {
		d := describe(schema.PodInterface{IfType: schema.Memif, Memif: &schema.MemifEnd{}}, path)
		if got := d.of("u1"); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}
