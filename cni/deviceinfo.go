package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

const (
	infoField = "runtimeConfig.CNIDeviceInfoFile"
	// infoVersion is the version of the Device Information Specification of the
	// Network Plumbing Working Group (github.com/k8snetworkplumbingwg/device-info-spec)
	// that deviceInfo follows.
	infoVersion = "1.1.0"
	// infoMode is that of the specification's own library: nobody changes it.
	infoMode = 0o444
	// maxInfo is the largest file in bytes that is looked into.
	maxInfo = 16 << 10
)

// deviceInfo is what an attachment is, in the words of the specification's section
// 3.1: role and mode are those of the application in the container. What path is
// relative to is not specified; ours is the socket as the host sees it, as in
// ADD's answer (socketPath): a container sees the file under the same name in the
// directory that is mounted into it. (The specification's library has the same
// types, and brings the Kubernetes client along.)
type deviceInfo struct {
	Type      string     `json:"type"`
	Version   string     `json:"version"`
	VhostUser *vhostInfo `json:"vhost-user,omitempty"`
	Memif     *memifInfo `json:"memif,omitempty"`
}

type vhostInfo struct {
	Mode string `json:"mode"` // client: the host makes the socket; server: the application does
	Path string `json:"path"`
}

type memifInfo struct {
	Role string `json:"role"` // slave: the host makes the socket; master: the application does
	Path string `json:"path"`
	Mode string `json:"mode"` // ethernet, ip
}

func describe(p schema.PodInterface, socketPath string) deviceInfo {
	d := deviceInfo{Type: string(p.IfType), Version: infoVersion}
	if p.VhostUser != nil {
		mode := opposite(p.VhostUser.Role, schema.VhostClient, schema.VhostServer)
		d.VhostUser = &vhostInfo{Mode: string(mode), Path: socketPath}
	}
	if p.Memif != nil {
		d.Memif = &memifInfo{Role: string(p.Memif.Role), Path: socketPath, Mode: string(p.Memif.Mode)}
	}
	return d
}

// of says whether d is what this plugin writes of an attachment of pod.
func (d deviceInfo) of(pod schema.PodID) bool {
	path := ""
	switch {
	case d.Memif != nil:
		path = d.Memif.Path
	case d.VhostUser != nil:
		path = d.VhostUser.Path
	}
	dir := filepath.Dir(path)
	return filepath.Base(dir) == string(pod) && filepath.Base(filepath.Dir(dir)) == "pods"
}

// infoName is the file's name in deviceInfoDir; empty where the runtime asks for
// none. The plugin is root and whoever writes a network configuration can name a
// file, unless the runtime overwrites it: so it must be one in the directory that
// the specification gives (section 4.2).
func (c *call) infoName() (string, error) {
	path := c.conf.RuntimeConfig.CNIDeviceInfoFile
	if path == nil {
		return "", nil
	}
	dir, name := filepath.Split(*path)
	if filepath.Clean(dir) == filepath.Clean(c.set.infoDir) && name != "" && name != "." && name != ".." {
		return name, nil
	}
	return "", badField(infoField, *path, "a file in "+c.set.infoDir+" (deviceInfoDir of the node's file)")
}

// checkInfoFile is for ADD, before anything is made.
func (c *call) checkInfoFile() error {
	name, err := c.infoName()
	if name == "" {
		return err
	}
	st, err := os.Lstat(filepath.Join(c.set.infoDir, name))
	if err == nil && !st.Mode().IsRegular() {
		return badField(infoField, *c.conf.RuntimeConfig.CNIDeviceInfoFile, "a regular file or none; there is "+st.Mode().Type().String())
	}
	return nil
}

// writeInfo tells the runtime what device the attachment is, where it asks. A file
// that is there and is not this pod's is somebody's: the specification has a plugin
// write where there is none (section 5.1.2).
func (a *adding) writeInfo(want store.Attachment, st schema.InterfaceStatus) error {
	name, err := a.infoName()
	if name == "" {
		return err
	}
	data, err := json.Marshal(describe(want.Pod, socketPath(want, st, a.runDir)))
	if err != nil {
		return fail(types.ErrInternal, "the device information cannot be encoded", err)
	}
	foreign := false
	err = inInfoDir(a.set.infoDir, true, func(dir *os.Root) error {
		have, found, readErr := readInfo(dir, name)
		if readErr != nil || found && !have.of(want.Pod.Pod.ID) {
			foreign = readErr == nil
			return readErr
		}
		a.described = true
		return putInfo(dir, name, data)
	})
	if err != nil {
		return fail(types.ErrIOFailure, infoField+" cannot be written", err)
	}
	if foreign {
		a.log.WithField("file", name).Warn("device information is there and not this pod's, it is left alone")
	}
	return nil
}

// removeInfo removes what writeInfo wrote. What is not this pod's stays.
func (c *call) removeInfo(pod schema.PodID) error {
	name, err := c.infoName()
	if name == "" {
		return err
	}
	err = inInfoDir(c.set.infoDir, false, func(dir *os.Root) error {
		have, found, readErr := readInfo(dir, name)
		if readErr != nil || !found || !have.of(pod) {
			return readErr
		}
		return dir.Remove(name)
	})
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fail(types.ErrIOFailure, infoField+" cannot be removed", err)
}

// inInfoDir opens the directory, which may be missing.
func inInfoDir(path string, mayMake bool, do func(*os.Root) error) error {
	if mayMake {
		if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // others read what is in it
			return err
		}
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	return errors.Join(do(dir), dir.Close())
}

// readInfo reads a file; one that is not in the specification's form is empty.
func readInfo(dir *os.Root, name string) (d deviceInfo, found bool, err error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return deviceInfo{}, false, nil
	}
	if err != nil {
		return deviceInfo{}, false, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return deviceInfo{}, false, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxInfo))
	if err != nil {
		return deviceInfo{}, false, err
	}
	if json.NewDecoder(bytes.NewReader(data)).Decode(&d) != nil {
		d = deviceInfo{}
	}
	return d, true, nil
}

// putInfo writes a file whole or not at all.
func putInfo(dir *os.Root, name string, data []byte) error {
	tmp := ".vpp-cni-" + rand.Text()
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, infoMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	// The mode does not depend on the runtime's umask: others read it.
	err = errors.Join(err, f.Chmod(infoMode), f.Sync(), f.Close())
	if err == nil {
		err = dir.Rename(tmp, name)
	}
	if err != nil {
		_ = dir.Remove(tmp)
	}
	return err
}
