package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
)

const (
	verifyTimeout   = 30 * time.Second
	shutdownTimeout = time.Second
	probeTimeout    = time.Second
	// socketMode lets the group of the agent ask, and nobody else.
	socketMode = 0o660
)

// Check is one part of an agent as /readyz tells of it.
type Check struct {
	Name string
	// Err is nil where the part works.
	Err error
}

// Checks are the daemon's own parts.
func (d *Daemon) Checks() []Check {
	s := d.State()
	return []Check{{Name: "etcd", Err: s.Etcd}, {Name: "vpp", Err: s.VPP.Err}, {Name: "reconciler", Err: cmp.Or(s.Fenced, s.Pass)}}
}

// Handler serves /livez, /readyz, /metrics and /verify. checks are the parts
// that /readyz tells of.
func (d *Daemon) Handler(checks func() []Check) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { readyz(w, checks()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.cfg.Metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /verify", d.serveVerify)
	return mux
}

// readyz answers 200 where all parts work, else 503; one line a part.
func readyz(w http.ResponseWriter, checks []Check) {
	var b strings.Builder
	code := http.StatusOK
	for _, c := range checks {
		if c.Err != nil {
			code = http.StatusServiceUnavailable
			_, _ = fmt.Fprintf(&b, "%s: not ready: %v\n", c.Name, c.Err)
			continue
		}
		_, _ = fmt.Fprintf(&b, "%s: ok\n", c.Name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprint(w, b.String())
}

// serveVerify answers with a Report: 200, or 503 while it cannot be complete,
// with the reason in the header Warning.
func (d *Daemon) serveVerify(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), verifyTimeout)
	defer cancel()
	rep, err := d.Verify(ctx)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.Header().Set("Warning", `199 - `+fmt.Sprintf("%q", err.Error()))
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rep); err != nil {
		d.log.WithField("err", err).Debug("report not sent")
	}
}

// Listen listens at unix:///path or host:port. A socket file that an earlier
// process has left behind is replaced, one that somebody answers on is an error.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen at %s: %w", address, err)
		}
		return l, nil
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	return l, nil
}

// clearSocket makes room for a socket.
func clearSocket(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // pods look up their own directory below it
		return err
	}
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is no socket")
	}
	dialer := net.Dialer{Timeout: probeTimeout}
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return errors.New("another process answers there: is an agent running already?")
	}
	return os.Remove(path)
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *logrus.Entry) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := srv.Shutdown(bounded); err != nil {
			_ = srv.Close()
		}
	})
	log.WithField("address", l.Addr().String()).Info("health and metrics served")
	err := srv.Serve(l)
	if stop() {
		return fmt.Errorf("serve at %s: %w", l.Addr(), err)
	}
	<-done
	return nil
}
