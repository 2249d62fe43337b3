package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// hold brings the node to the number of attachments that it must hold, and
// counts those that are ready and as wanted in VPP. What is missing is put as the
// plugin would, without a process each.
func (s *suite) hold(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	st, err := store.Open(store.Config{Endpoints: s.etcd.Endpoints()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	more := s.held - s.options.node
	_, failed := crowd(64, more, func(i int) error {
		_, err := st.Attach(ctx, attachment(s.node.Name, s.options.node+i), store.View{})
		return err
	})
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for {
		n, err := s.node.Metric(ctx, `vppcni_attachments{state="Ready"}`)
		if err == nil && int(n) >= s.held {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d attachments: %w: %.0f ready", s.held, ctx.Err(), n)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := s.inSync(ctx); err != nil {
		return err
	}
	s.table.add(figure{name: "held on one node", ours: float64(s.held), bound: float64(s.held), atLeast: true})
	return nil
}

// attachment is what the plugin writes for a pod without IPAM.
func attachment(node string, i int) store.Attachment {
	container := schema.ContainerID(fmt.Sprintf("held%060d", i))
	pod := schema.PodRef{ID: schema.PodID(fmt.Sprintf("00000000-0000-0000-0001-%012d", i)), Namespace: "bench", Name: fmt.Sprintf("held-%d", i)}
	names := []string{node, string(container), "net1"}
	return store.Attachment{
		Node: schema.Node(node), Container: container, IfName: "net1",
		Host: schema.HostInterface{
			Network: "bench", Pod: pod, IfType: schema.Memif, NetType: schema.NetBridge, MAC: schema.DeriveMAC(append(names, "host")...),
			Memif:  &schema.MemifEnd{Role: schema.MemifMaster, Mode: schema.MemifEthernet, Socket: "net1.memif"},
			Bridge: &schema.BridgeEnd{Name: "10", DomainID: 10},
		},
		Pod: schema.PodInterface{
			Network: "bench", Container: container, Pod: pod, IfType: schema.Memif, NetType: schema.NetInterface, MAC: schema.DeriveMAC(append(names, "pod")...),
			Memif: &schema.MemifEnd{Role: schema.MemifSlave, Mode: schema.MemifEthernet, Socket: "net1.memif"},
		},
	}
}
