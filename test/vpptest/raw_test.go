package vpptest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/core"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/test/vpptest"
)

type index = interface_types.InterfaceIndex

const all = ^index(0)

// raw is an API client of its own, as an operator or another program has one.
func raw(t *testing.T, v *vpptest.VPP) *core.Connection {
	t.Helper()
	conn, err := core.Connect(socketclient.NewVppClient(v.APISocket))
	if err != nil {
		t.Fatalf("connect to VPP: %v", err)
	}
	t.Cleanup(conn.Disconnect)
	return conn
}

// retval is the number that VPP refused a call with, 0 for none. Another error
// fails the test.
func retval(t *testing.T, err error) int32 {
	t.Helper()
	if err == nil {
		return 0
	}
	var refused api.VPPApiError
	if !errors.As(err, &refused) {
		t.Fatalf("call: %v", err)
	}
	return int32(refused)
}

// must fails the test on an error.
func must[R any](r R, err error) func(*testing.T) R {
	return func(t *testing.T) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// deadline is the time that one call of a test may take.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// collect reads a dump to its end.
func collect[D any](t *testing.T, stream interface{ Recv() (D, error) }, err error) []D {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out []D
	for {
		d, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
}

// interfacesOf dumps all interfaces.
func interfacesOf(t *testing.T, conn *core.Connection) []*interfaces.SwInterfaceDetails {
	t.Helper()
	stream, err := interfaces.NewServiceClient(conn).SwInterfaceDump(deadline(t), &interfaces.SwInterfaceDump{SwIfIndex: all})
	return collect(t, stream, err)
}

// named finds an interface by VPP's name, nil for none.
func named(t *testing.T, conn *core.Connection, name string) *interfaces.SwInterfaceDetails {
	t.Helper()
	for _, d := range interfacesOf(t, conn) {
		if d.InterfaceName == name {
			return d
		}
	}
	return nil
}

// dump is what the driver finds, by ID.
func dump(t *testing.T, d *vpp.VPP) map[model.ID]model.Object {
	t.Helper()
	objects, err := d.Dump(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	found := map[model.ID]model.Object{}
	for _, o := range objects {
		if twin := found[o.ID()]; twin != nil {
			t.Errorf("dump lists %s twice: %+v and %+v", o.ID(), twin, o)
		}
		found[o.ID()] = o
	}
	return found
}

// same compares what the driver finds with what should be there, to the letter.
func same(t *testing.T, d *vpp.VPP, want ...model.Object) {
	t.Helper()
	have := dump(t, d)
	var wrong []string
	for _, w := range want {
		h, ok := have[w.ID()]
		switch {
		case !ok:
			wrong = append(wrong, "missing: "+w.ID().String())
		case w.Compare(h) != model.Same:
			wrong = append(wrong, "other: "+w.ID().String())
			t.Logf("want %+v\nhave %+v", w, h)
		}
		delete(have, w.ID())
	}
	for id, o := range have {
		wrong = append(wrong, "unwanted: "+id.String())
		t.Logf("unwanted %+v", o)
	}
	slices.Sort(wrong)
	if len(wrong) > 0 {
		t.Fatalf("VPP is not as it should be:\n%s", strings.Join(wrong, "\n"))
	}
}
