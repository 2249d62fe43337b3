package node_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/vpp-cni/vpp-cni/test/containerd"
	"github.com/vpp-cni/vpp-cni/test/lab"
	"github.com/vpp-cni/vpp-cni/test/proc"
)

const (
	// podUser is the pods' user and group: agent.socketGroup in deploy/node/config.yaml.
	podUser = 65532
	// pods is where the host keeps what pods have beside their sockets.
	pods        = "/run/pods"
	startupConf = "../../deploy/kubernetes/samples/ping"
	ifname      = "eth0"
)

// runtime is containerd, as a kubelet sees it.
type runtime struct {
	cri cri.RuntimeServiceClient
}

func connect(t *testing.T) runtime {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+containerd.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return runtime{cri.NewRuntimeServiceClient(conn)}
}

// network is nil if the runtime has a network configuration.
func (r runtime) network(ctx context.Context) error {
	s, err := r.cri.Status(ctx, &cri.StatusRequest{})
	if err != nil {
		return err
	}
	for _, c := range s.Status.Conditions {
		if c.Type == cri.NetworkReady && !c.Status {
			return fmt.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
	return nil
}

// pod is a pod with a VPP of its own.
type pod struct {
	name, uid, sandbox string
	ips                []netip.Addr
	config             *cri.PodSandboxConfig
}

// dir is where the pod's VPP has its sockets, as the host sees it.
func (p *pod) dir() string { return filepath.Join(pods, p.name) }

func (p *pod) vpp() *proc.VPP {
	return &proc.VPP{Process: proc.New(p.name, p.dir(), ""), Dir: p.dir(), APISocket: filepath.Join(p.dir(), "api.sock")}
}

func newPod(name, uid string) *pod {
	user := &cri.Int64Value{Value: podUser}
	return &pod{name: name, uid: uid, config: &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Uid: uid, Namespace: "default"},
		Hostname: name,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: cgroupParent + "/" + name,
			SecurityContext: &cri.LinuxSandboxSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}, RunAsUser: user, RunAsGroup: user,
			},
		},
	}}
}

// run makes the pod's sandbox: containerd calls ADD.
func (r runtime) run(ctx context.Context, p *pod) error {
	made, err := r.cri.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		return err
	}
	p.sandbox, p.ips = made.PodSandboxId, nil
	status, err := r.cri.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.sandbox})
	if err != nil {
		return err
	}
	texts := []string{status.Status.Network.Ip}
	for _, more := range status.Status.Network.AdditionalIps {
		texts = append(texts, more.Ip)
	}
	for _, text := range texts {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		p.ips = append(p.ips, ip)
	}
	return nil
}

// remove takes the pod's sandbox away: containerd calls DEL.
func (r runtime) remove(ctx context.Context, p *pod) error {
	if _, err := r.cri.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		return err
	}
	_, err := r.cri.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.sandbox})
	return err
}

// sweep removes what the runtime keeps of a pod whose sandbox failed.
func (r runtime) sweep(ctx context.Context, p *pod) error {
	list, err := r.cri.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, s := range list.Items {
		if s.Metadata.Uid != p.uid {
			continue
		}
		if err := r.remove(ctx, &pod{sandbox: s.Id}); err != nil {
			return err
		}
	}
	return nil
}

// start runs the pod's containers: a VPP and the container agent.
func (r runtime) start(ctx context.Context, p *pod) error {
	if err := os.MkdirAll(p.dir(), 0o750); err != nil {
		return err
	}
	if err := os.Chown(p.dir(), podUser, podUser); err != nil {
		return err
	}
	conf, err := filepath.Abs(startupConf)
	if err != nil {
		return err
	}
	vpp := &cri.Mount{HostPath: p.dir(), ContainerPath: "/run/vpp"}
	sockets := &cri.Mount{HostPath: filepath.Join(runDir, "pods", p.uid), ContainerPath: runDir, Readonly: true}
	if err := r.container(ctx, p, "vppsim", []string{"-c", "/etc/vpp/startup.conf"},
		vpp, sockets, &cri.Mount{HostPath: conf, ContainerPath: "/etc/vpp", Readonly: true}); err != nil {
		return err
	}
	return r.container(ctx, p, "container-agent", []string{"--http=unix:///run/vpp/agent.sock"}, vpp, sockets)
}

// container starts one of our images, which may do nothing.
func (r runtime) container(ctx context.Context, p *pod, image string, args []string, mounts ...*cri.Mount) error {
	user := &cri.Int64Value{Value: podUser}
	made, err := r.cri.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: p.sandbox, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: image},
			Image:    &cri.ImageSpec{Image: "docker.io/vpp-cni/" + image + ":latest"},
			Args:     args, Mounts: mounts,
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions,
				RunAsUser:        user, RunAsGroup: user,
				Capabilities:   &cri.Capability{DropCapabilities: []string{"ALL"}},
				Seccomp:        &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
				ReadonlyRootfs: true, NoNewPrivs: true,
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("container %s of %s: %w", image, p.name, err)
	}
	if _, err := r.cri.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		return fmt.Errorf("container %s of %s: %w", image, p.name, err)
	}
	return nil
}

// ping sends from p's VPP to all addresses of to until three of a series come back.
func ping(ctx context.Context, p, to *pod) error {
	for _, ip := range to.ips {
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		sent, answered, err := lab.Ping(within, p.vpp(), ip, 3)
		cancel()
		if err != nil {
			return fmt.Errorf("%s pings %s at %s: %d sent, %d answered: %w", p.name, to.name, ip, sent, answered, err)
		}
	}
	return nil
}
