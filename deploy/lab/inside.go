package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
)

// request is one call of the plugins.
type request struct {
	name, uid, ifname        string
	network, confDir, binDir string
}

// call calls the network's plugins with verb and prints what ADD answers.
func (r request) call(ctx context.Context, verb string, out io.Writer) error {
	list, err := libcni.LoadConfList(r.confDir, r.network)
	if err != nil {
		return err
	}
	// A sandbox has an id of its own; here it is the same for the same pod, so that
	// a lab that is started twice repeats its ADDs.
	sum := sha256.Sum256([]byte(r.uid))
	container := hex.EncodeToString(sum[:])
	runtime := &libcni.RuntimeConf{
		ContainerID: container, NetNS: "/run/netns/" + r.name, IfName: r.ifname,
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", "lab"},
			{"K8S_POD_NAME", r.name},
			{"K8S_POD_INFRA_CONTAINER_ID", container},
			{"K8S_POD_UID", r.uid},
		},
	}
	cni := libcni.NewCNIConfig([]string{r.binDir}, nil)
	switch verb {
	case "DEL":
		return cni.DelNetworkList(ctx, list, runtime)
	case "CHECK":
		return cni.CheckNetworkList(ctx, list, runtime)
	}
	result, err := cni.AddNetworkList(ctx, list, runtime)
	if err != nil {
		return err
	}
	return result.PrintTo(out)
}

// pinging is a ping from one VPP.
type pinging struct {
	socket string
	count  int
	within time.Duration
}

// ping sends series of requests until all of one are answered: the first ones
// find a memif that connects and neighbours that are not known yet.
func (p pinging) ping(ctx context.Context, address string, out io.Writer) error {
	dst, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	v := vpp.New(vpp.Config{Socket: p.socket, SocketRoot: "/run/vpp-cni", Logger: logrus.NewEntry(log)})
	done := make(chan error, 1)
	go func() { done <- v.Run(running) }()
	defer func() {
		stop()
		<-done
	}()
	for {
		sent, replies, err := v.Ping(ctx, dst, p.count, 100*time.Millisecond)
		if err == nil && replies >= p.count {
			_, err = fmt.Fprintf(out, "%s: %d sent, %d answered\n", dst, sent, replies)
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: %d sent, %d answered", dst, sent, replies), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
