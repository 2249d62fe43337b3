// Package kubelettest is the part of a kubelet that device plugins speak with, for
// tests: real gRPC over real sockets. It gives no device to any pod; test/kubernetes
// has a whole kubelet.
package kubelettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// SocketName is the kubelet's socket in its directory of device plugins.
const SocketName = "kubelet.sock"

// patient is how long Hears waits.
const patient = 20 * time.Second

// Kubelet does what the kubelet's device manager does: it clears its directory,
// takes registrations on kubelet.sock, and asks whoever has registered for the
// devices (k8s.io/kubernetes, pkg/kubelet/cm/devicemanager/plugin/v1beta1).
type Kubelet struct {
	api.UnimplementedRegistrationServer
	dir    string
	server *grpc.Server
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	faults   Faults
	requests []*api.RegisterRequest
	lists    [][]*api.Device
	client   api.DevicePluginClient
	options  *api.DevicePluginOptions
	conn     *grpc.ClientConn
}

// Faults are what a kubelet does not do as it should.
type Faults struct {
	// Refuse is how many registrations are refused, Deaf how many after them are
	// answered and not followed up.
	Refuse, Deaf int
	// Keep leaves the sockets that are in the directory.
	Keep bool
}

// Start starts a kubelet on a directory of device plugins. It ends with the test.
func Start(t *testing.T, dir string, f Faults) *Kubelet {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range old {
		if !f.Keep || filepath.Base(file) == SocketName {
			err = errors.Join(err, os.Remove(file))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	k := &Kubelet{dir: dir, server: grpc.NewServer(), faults: f}
	k.ctx, k.stop = context.WithCancel(context.Background())
	l, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // a kubelet that is killed leaves its socket
	api.RegisterRegistrationServer(k.server, k)
	k.wg.Go(func() { _ = k.server.Serve(l) })
	t.Cleanup(k.Kill)
	return k
}

// Kill ends it; its socket stays, as that of a kubelet that was killed.
func (k *Kubelet) Kill() {
	k.stop()
	k.server.Stop()
	k.HangUp()
	k.wg.Wait()
}

// HangUp ends the connection to the plugin.
func (k *Kubelet) HangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil {
		_ = k.conn.Close()
		k.conn = nil
	}
}

// Register implements the kubelet's API.
func (k *Kubelet) Register(_ context.Context, r *api.RegisterRequest) (*api.Empty, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests = append(k.requests, r)
	if k.faults.Refuse > 0 {
		k.faults.Refuse--
		return nil, errors.New("not now")
	}
	if k.faults.Deaf > 0 {
		k.faults.Deaf--
		return &api.Empty{}, nil
	}
	k.wg.Go(func() { k.follow(r) })
	return &api.Empty{}, nil
}

// follow asks for the devices until the connection ends.
func (k *Kubelet) follow(r *api.RegisterRequest) {
	c, err := grpc.NewClient("unix://"+filepath.Join(k.dir, r.GetEndpoint()), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	client := api.NewDevicePluginClient(c)
	k.mu.Lock()
	k.conn, k.client = c, client
	k.mu.Unlock()
	options, err := client.GetDevicePluginOptions(k.ctx, &api.Empty{})
	if err != nil {
		return
	}
	k.mu.Lock()
	k.options = options
	k.mu.Unlock()
	stream, err := client.ListAndWatch(k.ctx, &api.Empty{})
	for err == nil {
		var resp *api.ListAndWatchResponse
		if resp, err = stream.Recv(); err == nil {
			k.mu.Lock()
			k.lists = append(k.lists, resp.GetDevices())
			k.mu.Unlock()
		}
	}
}

// State is how often somebody registered, how many lists came, and how many
// devices of the last one are healthy, as in "8 of 10".
func (k *Kubelet) State() (registered, lists int, last string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.lists); n > 0 {
		healthy := 0
		for _, d := range k.lists[n-1] {
			if d.GetHealth() == api.Healthy {
				healthy++
			}
		}
		last = fmt.Sprintf("%d of %d", healthy, len(k.lists[n-1]))
	}
	return len(k.requests), len(k.lists), last
}

// Hears waits until the last list is as wanted (see State).
func (k *Kubelet) Hears(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(patient); ; time.Sleep(2 * time.Millisecond) {
		registered, lists, last := k.State()
		if last == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the kubelet has %q after %d registrations and %d lists, want %q", last, registered, lists, want)
		}
	}
}

// Requests are the registrations so far.
func (k *Kubelet) Requests() []*api.RegisterRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.requests)
}

// Plugin is the plugin that has registered, with the options that it gave.
func (k *Kubelet) Plugin() (api.DevicePluginClient, *api.DevicePluginOptions) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client, k.options
}
