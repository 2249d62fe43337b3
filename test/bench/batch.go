package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memif"
	"go.fd.io/govpp/core"
)

// batch is attachments that a bare client makes on a fresh VPP.
type batch struct{ paths []string }

// newBatch makes the directories of n attachments, which outlive a VPP.
func newBatch(dir string, n int) (*batch, error) {
	b := &batch{}
	for i := range n {
		pod := filepath.Join(dir, "pods", fmt.Sprintf("00000000-0000-0000-0000-%012d", i))
		if err := os.MkdirAll(pod, 0o750); err != nil {
			return nil, err
		}
		b.paths = append(b.paths, filepath.Join(pod, "net1.memif"))
	}
	return b, nil
}

// fill makes all attachments: the calls that the agent makes too, each sort of
// them sent without waiting for replies, creates long before admin-ups.
func (b *batch) fill(ctx context.Context, apiSocket string) error {
	conn, err := govpp.Connect(apiSocket)
	if err != nil {
		return err
	}
	defer conn.Disconnect()
	_, err = l2.NewServiceClient(conn).BridgeDomainAddDelV2(ctx, &l2.BridgeDomainAddDelV2{
		BdID: floorDomain, IsAdd: true, Learn: true, Forward: true, UuFlood: true, Flood: true,
	})
	if err != nil {
		return err
	}
	index := make([]interface_types.InterfaceIndex, len(b.paths))
	for _, request := range []func(i int) api.Message{
		func(i int) api.Message {
			return &memif.MemifSocketFilenameAddDelV2{IsAdd: true, SocketID: uint32(i + 1), SocketFilename: b.paths[i]}
		},
		func(i int) api.Message {
			return &memif.MemifCreateV2{Role: memif.MEMIF_ROLE_API_MASTER, SocketID: uint32(i + 1), HwAddr: [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)}}
		},
		func(i int) api.Message {
			return &interfaces.SwInterfaceTagAddDel{IsAdd: true, SwIfIndex: index[i], Tag: fmt.Sprintf("floor/net1/%d", i)}
		},
		func(i int) api.Message {
			return &l2.SwInterfaceSetL2Bridge{RxSwIfIndex: index[i], BdID: floorDomain, Enable: true}
		},
		func(i int) api.Message {
			return &interfaces.SwInterfaceSetFlags{SwIfIndex: index[i], Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP}
		},
	} {
		if err := b.each(ctx, conn, index, request); err != nil {
			return err
		}
	}
	return nil
}

// each sends one request an attachment and takes the replies, which come in
// order.
func (b *batch) each(ctx context.Context, conn *core.Connection, index []interface_types.InterfaceIndex, request func(i int) api.Message) error {
	stream, err := conn.NewStream(ctx, core.WithReplySize(len(b.paths)+1))
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	// GoVPP learns from the first request where to look replies up.
	if err := stream.SendMsg(request(0)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 1; i < len(b.paths) && err == nil; i++ {
			err = stream.SendMsg(request(i))
		}
		sent <- err
	}()
	for i := range b.paths {
		reply, err := stream.RecvMsg()
		if err != nil {
			return err
		}
		if err := refusal(reply); err != nil {
			return fmt.Errorf("attachment %d: %s: %w", i, reply.GetMessageName(), err)
		}
		if created, ok := reply.(*memif.MemifCreateV2Reply); ok {
			index[i] = created.SwIfIndex
		}
	}
	return <-sent
}

// refusal is a reply's retval as an error.
func refusal(reply api.Message) error {
	switch r := reply.(type) {
	case *memif.MemifSocketFilenameAddDelV2Reply:
		return api.RetvalToVPPApiError(r.Retval)
	case *memif.MemifCreateV2Reply:
		return api.RetvalToVPPApiError(r.Retval)
	case *interfaces.SwInterfaceTagAddDelReply:
		return api.RetvalToVPPApiError(r.Retval)
	case *l2.SwInterfaceSetL2BridgeReply:
		return api.RetvalToVPPApiError(r.Retval)
	case *interfaces.SwInterfaceSetFlagsReply:
		return api.RetvalToVPPApiError(r.Retval)
	default:
		return fmt.Errorf("unexpected reply")
	}
}
