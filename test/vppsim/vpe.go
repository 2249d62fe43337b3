package vppsim

import (
	"fmt"
	"strconv"
	"strings"

	govpp "go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/ethernet_types"
	"go.fd.io/govpp/binapi/fib_types"
	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/binapi/ping"
	"go.fd.io/govpp/binapi/vhost_user"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"
	"go.fd.io/govpp/binapi/vxlan"

	"github.com/vpp-cni/vpp-cni/test/vppsim/api"
)

// apiFiles are the API files that the simulator serves messages of, with the
// message CRCs of VPP 25.10.
func apiFiles() []api.File {
	file := func(name, version string, crc uint32, messages []govpp.Message) api.File {
		return api.File{Name: name, Version: version, CRC: crc, Messages: messages}
	}
	return []api.File{
		file(memclnt.APIFile, memclnt.APIVersion, memclnt.VersionCrc, memclnt.AllMessages()),
		file(vlib.APIFile, vlib.APIVersion, vlib.VersionCrc, vlib.AllMessages()),
		file(vpe.APIFile, vpe.APIVersion, vpe.VersionCrc, vpe.AllMessages()),
		file(interface_types.APIFile, interface_types.APIVersion, interface_types.VersionCrc, nil),
		file(ethernet_types.APIFile, ethernet_types.APIVersion, ethernet_types.VersionCrc, nil),
		file(ip_types.APIFile, ip_types.APIVersion, ip_types.VersionCrc, nil),
		file(fib_types.APIFile, fib_types.APIVersion, fib_types.VersionCrc, nil),
		file(interfaces_api.APIFile, interfaces_api.APIVersion, interfaces_api.VersionCrc, interfaces_api.AllMessages()),
		file(l2.APIFile, l2.APIVersion, l2.VersionCrc, l2.AllMessages()),
		file(ip.APIFile, ip.APIVersion, ip.VersionCrc, ip.AllMessages()),
		file(ip_neighbor.APIFile, ip_neighbor.APIVersion, ip_neighbor.VersionCrc, ip_neighbor.AllMessages()),
		file(memif.APIFile, memif.APIVersion, memif.VersionCrc, memif.AllMessages()),
		file(vhost_user.APIFile, vhost_user.APIVersion, vhost_user.VersionCrc, vhost_user.AllMessages()),
		file(ping.APIFile, ping.APIVersion, ping.VersionCrc, ping.AllMessages()),
		file(vxlan.APIFile, vxlan.APIVersion, vxlan.VersionCrc, vxlan.AllMessages()),
	}
}

func (v *vpp) registerVPE() {
	onRequest(v, v.controlPing)
	onRequest(v, v.apiVersions)
	onRequest(v, v.getFirstMsgID)
	onRequest(v, v.showVersion)
	onRequest(v, v.showThreads)
	onRequest(v, v.cliInband)
}

func (v *vpp) controlPing(_ *memclnt.ControlPing, r *memclnt.ControlPingReply) retval {
	r.VpePID = v.pid
	return ok
}

func (v *vpp) apiVersions(_ *memclnt.APIVersions, r *memclnt.APIVersionsReply) retval {
	for _, f := range v.table.Files() {
		var n [3]uint32
		for i, part := range strings.SplitN(f.Version, ".", len(n)) {
			x, err := strconv.ParseUint(part, 10, 32)
			if err != nil {
				break
			}
			n[i] = uint32(x)
		}
		r.APIVersions = append(r.APIVersions, memclnt.ModuleVersion{
			Major: n[0], Minor: n[1], Patch: n[2], Name: f.Name + ".api",
		})
	}
	return ok
}

func (v *vpp) getFirstMsgID(q *memclnt.GetFirstMsgID, r *memclnt.GetFirstMsgIDReply) retval {
	id, found := v.table.FirstID(q.Name)
	if !found {
		return govpp.INVALID_VALUE
	}
	r.FirstMsgID = id
	return ok
}

func (v *vpp) showVersion(_ *vpe.ShowVersion, r *vpe.ShowVersionReply) retval {
	r.Program = "vpe"
	r.Version = Version
	r.BuildDate = buildDate
	r.BuildDirectory = "vppsim"
	return ok
}

// buildDate is that of the release that is simulated.
const buildDate = "2025-10-29T00:00:00"

func (v *vpp) showThreads(_ *vlib.ShowThreads, r *vlib.ShowThreadsReply) retval {
	r.ThreadData = []vlib.ThreadData{{ID: 0, Name: "vpp_main", PID: v.pid}}
	return ok
}

// cliInband answers the few commands that people and scripts look with.
func (v *vpp) cliInband(q *vlib.CliInband, r *vlib.CliInbandReply) retval {
	for _, c := range []struct {
		name string
		show func() string
	}{
		{"show version", v.cliShowVersion},
		{"show interface", v.cliShowInterface},
		{"show memif", v.cliShowMemif},
		{"show bridge-domain", v.cliShowBridge},
	} {
		if abbreviates(q.Cmd, c.name) {
			r.Reply = c.show()
			return ok
		}
	}
	r.Reply = fmt.Sprintf("unknown input `%s'\n", strings.TrimSpace(q.Cmd))
	return govpp.UNSPECIFIED
}

// abbreviates tells whether every word typed begins the command's word, as VPP
// lets people write "sh int".
func abbreviates(typed, command string) bool {
	have, want := strings.Fields(typed), strings.Fields(command)
	if len(have) != len(want) {
		return false
	}
	for i := range have {
		if !strings.HasPrefix(want[i], have[i]) {
			return false
		}
	}
	return true
}

func (v *vpp) cliShowVersion() string {
	return fmt.Sprintf("vpp v%s simulated for tests, pid %d\n", Version, v.pid)
}
