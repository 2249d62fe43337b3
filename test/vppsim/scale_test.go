package vppsim_test

import (
	"fmt"
	"path/filepath"
	"testing"

	interfaces_api "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
)

// attach makes one attachment as an agent does: socket, interface, tag, bridge,
// up.
func (c *client) attach(dir string, n uint32) interface_types.InterfaceIndex {
	c.t.Helper()
	c.socket(n, filepath.Join(dir, fmt.Sprint(n)))
	i := c.memif(&memif.MemifCreateV2{SocketID: n})
	c.must(&interfaces_api.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: i, Tag: fmt.Sprint("pod-", n)},
		&interfaces_api.SwInterfaceTagAddDelReply{})
	c.must(&l2.SwInterfaceSetL2Bridge{RxSwIfIndex: i, BdID: 1 + n%16, Enable: true}, &l2.SwInterfaceSetL2BridgeReply{})
	c.admin(i, true)
	return i
}

func (c *client) detach(i interface_types.InterfaceIndex, n uint32) {
	c.t.Helper()
	c.must(&memif.MemifDelete{SwIfIndex: i}, &memif.MemifDeleteReply{})
	c.must(&memif.MemifSocketFilenameAddDelV2{SocketID: n}, &memif.MemifSocketFilenameAddDelV2Reply{})
}

func TestThousandAttachments(t *testing.T) {
	const attachments = 1000
	c := dial(t, start(t))
	dir := t.TempDir()
	all := make(map[uint32]interface_types.InterfaceIndex)
	for n := uint32(1); n <= attachments; n++ {
		all[n] = c.attach(dir, n)
	}
	tags := make(map[string]bool)
	for _, d := range dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: anyIface}) {
		tags[d.Tag] = d.Flags == admin
	}
	for n := range all {
		if !tags[fmt.Sprint("pod-", n)] {
			t.Errorf("attachment %d is not there, or not up", n)
		}
	}
	for n, i := range all {
		c.detach(i, n)
	}
	if got := dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: anyIface}); len(got) != 1 {
		t.Errorf("%d interfaces left, want local0 alone", len(got))
	}
	if got := dump[memif.MemifSocketFilenameDetails](c, &memif.MemifSocketFilenameDump{}); len(got) != 1 {
		t.Errorf("%d sockets left, want VPP's own", len(got))
	}
}

// BenchmarkAttachment is one attachment made and taken away, beside as many as
// the name says.
func BenchmarkAttachment(b *testing.B) {
	for _, beside := range []uint32{0, 1000, 10000} {
		b.Run(fmt.Sprint(beside), func(b *testing.B) {
			c, dir := populated(b, beside)
			for b.Loop() {
				c.detach(c.attach(dir, beside+1), beside+1)
			}
		})
	}
}

// BenchmarkDump is sw_interface_dump of as many interfaces as the name says.
func BenchmarkDump(b *testing.B) {
	for _, interfaces := range []uint32{1000, 10000} {
		b.Run(fmt.Sprint(interfaces), func(b *testing.B) {
			c, _ := populated(b, interfaces)
			for b.Loop() {
				dump[interfaces_api.SwInterfaceDetails](c, &interfaces_api.SwInterfaceDump{SwIfIndex: anyIface})
			}
		})
	}
}

func populated(b *testing.B, n uint32) (*client, string) {
	b.Helper()
	c, dir := dial(b, start(b)), b.TempDir()
	for k := uint32(1); k <= n; k++ {
		c.attach(dir, k)
	}
	return c, dir
}
