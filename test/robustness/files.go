package robustness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// podDir is the directory of a pod's sockets.
func (w *world) podDir(uid string) string { return filepath.Join(w.node.RunDir, "pods", uid) }

// compareFiles wants a directory for each pod with an attachment, a socket where
// the host serves it, and IPAM's files to name exactly the addresses given.
//
// A socket whose file was removed while somebody is connected works on: it is
// made again when the other side has gone.
func (w *world) compareFiles(want []*attachment, v view) (b broken, err error) {
	dirs := map[string]bool{}
	for _, a := range want {
		dirs[a.uid] = true
		if found := v.tagged(a.tag()); a.network.swapped && !a.owner.heavy || a.edited && len(found) == 1 && found[0].link {
			continue // nobody serves it, or nobody needs the file
		}
		if _, gone := os.Stat(w.socket(a)); gone != nil {
			b.add(errConverges, []string{a.owner.name}, "the socket of %s: %v", a.key, gone)
		}
	}
	entries, err := os.ReadDir(filepath.Join(w.node.RunDir, "pods"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !dirs[e.Name()] {
			b.add(errNoLeak, w.ownersOf(e.Name()), "the run-dir holds %s", e.Name())
		}
	}
	ipam, err := w.compareIPAM(want)
	return append(b, ipam...), err
}

// compareIPAM reads host-local's store: a file an address, with the container's
// id and the interface's name in it.
func (w *world) compareIPAM(want []*attachment) (b broken, err error) {
	expected := map[string]*attachment{}
	for _, a := range want {
		for _, ip := range a.ips {
			expected[filepath.Join(a.network.name, ip.Addr().String())] = a
		}
	}
	err = filepath.WalkDir(w.node.IPAMDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || d.Name() == "lock" || strings.HasPrefix(d.Name(), "last_reserved_ip") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return nil // host-local was killed between making the file and writing it
		}
		name, err := filepath.Rel(w.node.IPAMDir, path)
		if err != nil {
			return err
		}
		a := expected[name]
		delete(expected, name)
		holder := strings.Join(strings.Fields(string(data)), "/")
		switch {
		case a == nil:
			b.add(errNoLeak, w.ownersOf(string(data)), "IPAM holds %s for %.8s…%s", name, holder, holder[strings.LastIndexByte(holder, '/')+1:])
		case holder != a.key.container+"/"+a.key.ifname:
			b.add(errNoDoubleAddress, []string{a.owner.name}, "IPAM holds %s for %s, not for %s", name, holder, a.key)
		}
		return nil
	})
	for name, a := range expected {
		b.add(errConverges, []string{a.owner.name}, "IPAM does not hold %s of %s", name, a.key)
	}
	if err != nil {
		return b, fmt.Errorf("IPAM's store: %w", err)
	}
	return b, nil
}
