package vppsim

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/vhost_user"

	"github.com/vpp-cni/vpp-cni/test/vppsim/sockfile"
)

const (
	vhostDevice  = "vhost-user"
	vhostMaxPath = 107 // sun_path is 108 bytes with its end; VPP cuts there
)

type vhostState struct {
	pool pool[vhostInterface]
}

// vhostInterface is one end of a vhost-user link. A server has its socket file
// and listens; who connects is left waiting.
type vhostInterface struct {
	instance uint32
	iface    *swInterface
	path     string
	listener *net.UnixListener // nil: a client
}

func (v *vpp) registerVhost() {
	onRequest(v, v.createVhostUserIf)
	onRequest(v, v.createVhostUserIfV2)
	onRequest(v, v.modifyVhostUserIf)
	onRequest(v, v.modifyVhostUserIfV2)
	onRequest(v, v.deleteVhostUserIf)
	onDump(v, v.swInterfaceVhostUserDump)
}

// closeVhost is the end of VPP: the socket files stay, as after a crash.
func (v *vpp) closeVhost() {
	for h := range v.vhost.pool.all() {
		if h.listener != nil {
			_ = h.listener.Close()
		}
	}
}

func (v *vpp) createVhostUserIf(q *vhost_user.CreateVhostUserIf, r *vhost_user.CreateVhostUserIfReply) retval {
	index, rv := v.createVhost(vhost_user.CreateVhostUserIfV2{
		IsServer: q.IsServer, SockFilename: q.SockFilename, Renumber: q.Renumber,
		CustomDevInstance: q.CustomDevInstance, UseCustomMac: q.UseCustomMac,
		MacAddress: q.MacAddress, Tag: q.Tag,
	})
	r.SwIfIndex = index
	return rv
}

func (v *vpp) createVhostUserIfV2(q *vhost_user.CreateVhostUserIfV2, r *vhost_user.CreateVhostUserIfV2Reply) retval {
	index, rv := v.createVhost(*q)
	r.SwIfIndex = index
	return rv
}

func (v *vpp) createVhost(q vhost_user.CreateVhostUserIfV2) (interface_types.InterfaceIndex, retval) {
	if q.SockFilename == "" {
		return interface_types.InterfaceIndex(noIndex), govpp.INVALID_ARGUMENT
	}
	if had := v.vhostOn(q.SockFilename); had != nil {
		return interface_types.InterfaceIndex(had.iface.index), govpp.IF_ALREADY_EXISTS
	}
	var listener *net.UnixListener
	if q.IsServer {
		var err error
		if listener, err = listenVhost(q.SockFilename); err != nil {
			v.log.WithField("err", err).Error("vhost-user listener")
			return interface_types.InterfaceIndex(noIndex), govpp.SYSCALL_ERROR_2
		}
	}
	h := v.vhost.pool.put(func(instance uint32) *vhostInterface {
		return &vhostInterface{instance: instance, path: q.SockFilename, listener: listener}
	})
	name := h.instance
	if q.Renumber {
		name = q.CustomDevInstance
	}
	h.iface = v.newInterface(func(i *swInterface) {
		i.name, i.device = fmt.Sprintf("VirtualEthernet0/0/%d", name), vhostDevice
		i.tag = q.Tag[:min(len(q.Tag), tagLength)]
		i.mac = memifMAC(vhostMAC(q), v.pid, i.index)
		i.linkMTU, i.mtu[0] = ethMTU, ethMTU
	})
	v.plane.AddEthernet(h.iface.index, h.iface.mac, func([]byte) {})
	v.plane.SetMTU(h.iface.index, ethMTU)
	return interface_types.InterfaceIndex(h.iface.index), ok
}

func vhostMAC(q vhost_user.CreateVhostUserIfV2) ethernet_types.MacAddress {
	if q.UseCustomMac {
		return q.MacAddress
	}
	return ethernet_types.MacAddress{}
}

// vhostOn finds who has a path.
func (v *vpp) vhostOn(path string) *vhostInterface {
	for h := range v.vhost.pool.all() {
		if h.path == path {
			return h
		}
	}
	return nil
}

// listenVhost takes the path over without asking, and cuts it where VPP cuts it.
// The file's mode is 0755, whatever the umask.
func listenVhost(path string) (*net.UnixListener, error) {
	cut := path[:min(len(path), vhostMaxPath)]
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, fmt.Errorf("vhost-user socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: cut, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("vhost-user socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := sockfile.Chmod(cut, 0o755); err != nil { // VPP's own mode
		return nil, errors.Join(fmt.Errorf("vhost-user socket: %w", err), l.Close())
	}
	return l, nil
}

func (v *vpp) modifyVhostUserIf(q *vhost_user.ModifyVhostUserIf, _ *vhost_user.ModifyVhostUserIfReply) retval {
	return v.modifyVhost(q.SwIfIndex, q.IsServer, q.SockFilename)
}

func (v *vpp) modifyVhostUserIfV2(q *vhost_user.ModifyVhostUserIfV2, _ *vhost_user.ModifyVhostUserIfV2Reply) retval {
	return v.modifyVhost(q.SwIfIndex, q.IsServer, q.SockFilename)
}

func (v *vpp) modifyVhost(index interface_types.InterfaceIndex, server bool, path string) retval {
	h := v.vhostOf(index)
	if h == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	if path == "" {
		return govpp.INVALID_ARGUMENT
	}
	if other := v.vhostOn(path); other != nil && other != h {
		return govpp.IF_ALREADY_EXISTS
	}
	h.stopListening()
	h.path = path
	if !server {
		return ok
	}
	listener, err := listenVhost(path)
	if err != nil {
		v.log.WithField("err", err).Error("vhost-user listener")
		return govpp.SYSCALL_ERROR_2
	}
	h.listener = listener
	return ok
}

// stopListening takes the socket file away, as VPP does.
func (h *vhostInterface) stopListening() {
	if h.listener == nil {
		return
	}
	_ = h.listener.Close()
	h.listener = nil
	_ = os.Remove(h.path)
}

func (v *vpp) vhostOf(index interface_types.InterfaceIndex) *vhostInterface {
	i := v.iface(index)
	if i == nil {
		return nil
	}
	for h := range v.vhost.pool.all() {
		if h.iface == i.sup {
			return h
		}
	}
	return nil
}

func (v *vpp) deleteVhostUserIf(q *vhost_user.DeleteVhostUserIf, _ *vhost_user.DeleteVhostUserIfReply) retval {
	h := v.vhostOf(q.SwIfIndex)
	if h == nil {
		return govpp.INVALID_SW_IF_INDEX
	}
	h.stopListening()
	v.deleteInterface(h.iface)
	v.vhost.pool.del(h.instance)
	return ok
}

// swInterfaceVhostUserDump tells of a client that there is nobody on its path:
// the simulator never connects. Without a guest no features are agreed on.
func (v *vpp) swInterfaceVhostUserDump(q *vhost_user.SwInterfaceVhostUserDump, send func(govpp.Message)) {
	for _, h := range slices.Collect(v.vhost.pool.all()) {
		if uint32(q.SwIfIndex) != noIndex && uint32(q.SwIfIndex) != h.iface.index {
			continue
		}
		d := &vhost_user.SwInterfaceVhostUserDetails{
			SwIfIndex:     interface_types.InterfaceIndex(h.iface.index),
			InterfaceName: h.iface.name,
			IsServer:      h.listener != nil,
			SockFilename:  h.path,
		}
		if h.listener == nil {
			d.SockErrno = int32(syscall.ENOENT)
		}
		send(d)
	}
}
