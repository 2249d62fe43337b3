package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/vpp-cni/vpp-cni/agent/vpp"
)

const sandboxLabel = `labels."io.cri-containerd.kind"==sandbox`

// tasks are the containers that run, of those that a filter lets through: the
// process of each by its id.
func (w *world) tasks(ctx context.Context, filter string) (map[string]int, error) {
	ids, err := w.Ctr(ctx, "containers", "list", "-q", filter)
	if err != nil {
		return nil, err
	}
	list, err := w.Ctr(ctx, "tasks", "list")
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "RUNNING" && strings.Contains(ids, f[0]) {
			if out[f[0]], err = strconv.Atoi(f[1]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// signal sends a signal to a container's first program. A pod's sandbox is the
// container without a name.
func (w *world) signal(t *testing.T, namespace, pod, container string, sig syscall.Signal) {
	t.Helper()
	filter := sandboxLabel
	if container != "" {
		filter = `labels."io.cri-containerd.kind"==container,labels."io.kubernetes.container.name"==` + container
	}
	tasks, err := w.tasks(t.Context(), filter+`,labels."io.kubernetes.pod.namespace"==`+namespace+`,labels."io.kubernetes.pod.name"==`+pod)
	if err == nil && len(tasks) != 1 {
		err = fmt.Errorf("%s of %s/%s: processes %v, one is wanted", container, namespace, pod, tasks)
	}
	for _, pid := range tasks {
		err = errors.Join(err, syscall.Kill(pid, sig))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// podOf is the pod of one of our DaemonSets on the node.
func (w *world) podOf(t *testing.T, name string) string {
	t.Helper()
	out := strings.Fields(w.kubectl(t, "get", "pods", "-n", system, "-l", "app.kubernetes.io/name="+name, "-o", "jsonpath={.items[*].metadata.name}"))
	if len(out) != 1 {
		t.Fatalf("pods of %s: %v, one is wanted", name, out)
	}
	return out[0]
}

const (
	// pingTime is how long one ping waits for its answer.
	pingTime = 100 * time.Millisecond
	// maxMissed is how many pings in a row may go without an answer. VPP gives one
	// up when another client's message comes meanwhile (vpp.Ping), so that one that
	// has no answer says nothing; a memif that was made anew is away for longer.
	maxMissed = 2
)

// traffic pings from one pod to the other until it is stopped.
type traffic struct {
	sent, answered int
	// missed is the most in a row without an answer.
	missed int
	err    error
	stop   context.CancelFunc
	done   chan struct{}
}

func startTraffic(ctx context.Context, from, to pod) (*traffic, error) {
	dst, err := netip.ParseAddr(to.IPs["eth0"])
	if err != nil {
		return nil, err
	}
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	run, stop := context.WithCancel(ctx)
	f := &traffic{stop: stop, done: make(chan struct{})}
	v := vpp.New(vpp.Config{Socket: from.vpp().APISocket, SocketRoot: from.vpp().Dir, Logger: logrus.NewEntry(log)})
	ended := make(chan error, 1)
	connection, disconnect := context.WithCancel(ctx)
	go func() { ended <- v.Run(connection) }()
	go func() {
		defer close(f.done)
		for !v.Info().Connected && run.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		f.err = f.ping(ctx, run, v, dst)
		disconnect()
		<-ended
	}()
	return f, nil
}

func (f *traffic) ping(ctx, run context.Context, v *vpp.VPP, dst netip.Addr) error {
	row := 0
	for run.Err() == nil {
		sent, answered, err := v.Ping(ctx, dst, 1, pingTime)
		if err != nil {
			return err
		}
		f.sent, f.answered = f.sent+sent, f.answered+answered
		row++
		if answered > 0 {
			row = 0
		}
		f.missed = max(f.missed, row)
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// end stops the traffic; a cut is an error.
func (f *traffic) end() (said string, err error) {
	f.stop()
	<-f.done
	said = fmt.Sprintf("traffic: %d sent, %d answered, at most %d in a row not", f.sent, f.answered, f.missed)
	if f.err != nil || f.answered == 0 || f.missed > maxMissed {
		err = errors.Join(errors.New(said), f.err)
	}
	return said, err
}
