// Package containerd runs a containerd of a test's own, with the images that the
// test brings along. It belongs on a machine of the test's own (package machine):
// its socket is where everybody looks for it. What runs in it is its users'
// business.
package containerd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpp-cni/vpp-cni/test/proc"
)

const (
	// Socket is where it serves CRI and its own API.
	Socket = "/run/containerd/containerd.sock"
	// pauseImage is what Kubernetes itself has its pods' pause containers made of; here
	// it is ours under that name.
	pauseImage = "registry.k8s.io/pause:3.10"
)

// Config says what it is made of.
type Config struct {
	// Programs is the directory of containerd 2 and its shim; empty: the search path's,
	// which is taken for a containerd 1.
	Programs string
	// Root is where it keeps images and containers.
	Root string
	// Pause is the program of the pods' pause containers.
	Pause string
	// Images are archives of images, as docker save makes them.
	Images []string
	// LogDir is there already.
	LogDir string
}

// Containerd is the process.
type Containerd struct {
	*proc.Process
	cfg Config
}

// oom_score_adj cannot be lowered without CAP_SYS_RESOURCE, which a container
// that tests run in has not.
const configuration = `version = 2
root = "@ROOT@"
state = "/run/containerd"
[grpc]
  address = "` + Socket + `"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
`

// New prepares one.
func New(cfg Config) (*Containerd, error) {
	file := cfg.Root + ".toml"
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(configuration, "@ROOT@", cfg.Root)), 0o600); err != nil {
		return nil, err
	}
	c := &Containerd{cfg: cfg}
	c.Process = proc.New("containerd", cfg.LogDir, c.program("containerd"), "--config", file)
	return c, nil
}

// Up starts it, waits until it serves, and gives it its images.
func (c *Containerd) Up(ctx context.Context) error {
	if err := c.Start(); err != nil {
		return err
	}
	if err := c.Serves(ctx); err != nil {
		return err
	}
	return c.load(ctx)
}

// Serves waits until it does.
func (c *Containerd) Serves(ctx context.Context) error {
	return c.WaitFor(ctx, "containerd", func() bool {
		_, err := c.Ctr(ctx, "version")
		return err == nil
	})
}

func (c *Containerd) program(name string) string {
	if c.cfg.Programs != "" {
		return filepath.Join(c.cfg.Programs, name)
	}
	return name
}

// Ctr runs containerd's own client in CRI's part of it.
func (c *Containerd) Ctr(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	args = append([]string{"--address", Socket, "--namespace", "k8s.io"}, args...)
	out, err := exec.CommandContext(ctx, c.program("ctr"), args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (c *Containerd) load(ctx context.Context) error {
	pause := c.cfg.Root + "-pause.tar"
	if err := writeImage(pause, pauseImage, c.cfg.Pause); err != nil {
		return err
	}
	for _, file := range append([]string{pause}, c.cfg.Images...) {
		args := []string{"images", "import"}
		if c.cfg.Programs != "" {
			args = append(args, "--local") // containerd 2's other way takes no docker archives
		}
		if _, err := c.Ctr(ctx, append(args, file)...); err != nil {
			return err
		}
	}
	return nil
}
