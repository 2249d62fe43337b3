package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// registerTime bounds one registration.
const registerTime = 5 * time.Second

// identity tells a socket from another one at the same path. A file system may use
// an inode's number again, so its time counts too (which neither a connection nor a
// change of mode touches).
type identity struct {
	dev, ino  uint64
	sec, nsec int64
}

// identify is the identity of the socket at path; what is no socket is an error.
func identify(path string) (identity, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return identity{}, fmt.Errorf("%s is no socket", path)
	}
	return identity{dev: st.Dev, ino: st.Ino, sec: st.Mtim.Sec, nsec: st.Mtim.Nsec}, nil
}

// serving is our server on its socket.
type serving struct {
	server *grpc.Server
	socket identity
	done   chan struct{}
}

// keep looks after the sockets, and returns what keeps the kubelet from knowing of
// the devices. A kubelet that starts removes all sockets in its directory, also
// ours, and makes its own anew.
func (p *Plugin) keep(ctx context.Context, now time.Time) error {
	if p.server != nil {
		if id, err := identify(p.path(socketName)); err != nil || id != p.server.socket {
			p.stop()
		}
	}
	if p.server == nil {
		p.kubelet = identity{}
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	id, err := identify(p.path(kubeletName))
	if err != nil {
		p.kubelet, p.tries, p.next = identity{}, 0, time.Time{}
		return fmt.Errorf("the kubelet is not there: %w", err)
	}
	if id == p.kubelet {
		switch {
		case p.watched():
			return nil
		case now.Sub(p.registered) < p.cfg.watch:
			return errUnheard
		}
	}
	return p.register(ctx, id, now)
}

// register tells the kubelet of us, less and less often while it refuses.
func (p *Plugin) register(ctx context.Context, id identity, now time.Time) error {
	if now.Before(p.next) {
		return p.refused
	}
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	if err := p.callRegister(ctx); err != nil {
		p.next = now.Add(min(maxPause, p.cfg.poll<<min(p.tries, 10)))
		p.tries++
		p.refused = fmt.Errorf("the kubelet does not take the registration: %w", err)
		return p.refused
	}
	p.kubelet, p.registered, p.tries, p.next = id, now, 0, time.Time{}
	return errUnheard
}

func (p *Plugin) callRegister(ctx context.Context) error {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.path(kubeletName))
	}
	c, err := grpc.NewClient("passthrough:///kubelet", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	_, err = kubelet.NewRegistrationClient(c).Register(ctx, &kubelet.RegisterRequest{
		Version: kubelet.Version, Endpoint: socketName, ResourceName: p.cfg.Resource, Options: &kubelet.DevicePluginOptions{},
	})
	return errors.Join(err, c.Close())
}

// start serves. The agent that was here before has left its socket if it was
// killed; that there is one agent is the run-dir's lock's work.
func (p *Plugin) start(ctx context.Context) error {
	path := p.path(socketName)
	if _, err := identify(path); err == nil {
		err = os.Remove(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // what stands there then may be another's
	id, err := identify(path)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s := &serving{server: grpc.NewServer(), socket: id, done: make(chan struct{})}
	kubelet.RegisterDevicePluginServer(s.server, p)
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); err != nil {
			p.log.WithField("err", err).Warn("device plugin's socket ended")
		}
	}()
	p.server = s
	return nil
}

// stop ends what start began, and removes the socket where it is still ours.
func (p *Plugin) stop() {
	if p.server == nil {
		return
	}
	path := p.path(socketName)
	if id, err := identify(path); err == nil && id == p.server.socket {
		if err := os.Remove(path); err != nil {
			p.log.WithField("err", err).Warn("device plugin's socket stays")
		}
	}
	p.server.server.Stop()
	<-p.server.done
	p.server = nil
}
