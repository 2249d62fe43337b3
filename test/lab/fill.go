package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// fillers is how many attachments Fill writes at a time.
const fillers = 64

// Fill attaches pods number from to to-1 to the node as the plugin would,
// without a process each, and without their VPPs.
func (n *Node) Fill(ctx context.Context, from, to int) (err error) {
	st, err := store.Open(n.lab.Store())
	if err != nil {
		return fmt.Errorf("fill %s: %w", n.Name, err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	var g errgroup.Group
	g.SetLimit(fillers)
	for i := from; i < to; i++ {
		g.Go(func() error {
			_, err := st.Attach(ctx, Attachment(n.Name, i), store.View{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("fill %s: %w", n.Name, err)
	}
	return nil
}

// WaitAttachments waits until at least want attachments are Ready.
func (n *Node) WaitAttachments(ctx context.Context, want int) error {
	for {
		ready, err := n.Metric(ctx, `vppcni_attachments{state="Ready"}`)
		if err == nil && int(ready) >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %.0f of %d attachments are ready: %w:\n%s", n.Name, ready, want, errors.Join(ctx.Err(), err), n.Agent.LogTail(5))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Attachment is what the plugin writes for pod number i, without IPAM.
func Attachment(node string, i int) store.Attachment {
	container := schema.ContainerID(fmt.Sprintf("fill%060d", i))
	pod := schema.PodRef{ID: schema.PodID(fmt.Sprintf("00000000-0000-0000-0001-%012d", i)), Namespace: "fill", Name: fmt.Sprintf("pod-%d", i)}
	mac := func(end string) schema.MAC { return schema.DeriveMAC(node, string(container), "net1", end) }
	memif := func(role schema.MemifRole) *schema.MemifEnd {
		return &schema.MemifEnd{Role: role, Mode: schema.MemifEthernet, Socket: "net1.memif"}
	}
	return store.Attachment{
		Node: schema.Node(node), Container: container, IfName: "net1",
		Host: schema.HostInterface{
			Network: "fill", Pod: pod, IfType: schema.Memif, NetType: schema.NetBridge,
			MAC: mac("host"), Memif: memif(schema.MemifMaster), Bridge: &schema.BridgeEnd{Name: "10", DomainID: 10},
		},
		Pod: schema.PodInterface{
			Network: "fill", Container: container, Pod: pod, IfType: schema.Memif, NetType: schema.NetInterface,
			MAC: mac("pod"), Memif: memif(schema.MemifSlave),
		},
	}
}
