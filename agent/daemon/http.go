package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
)

const (
	verifyTimeout   = 30 * time.Second
	shutdownTimeout = time.Second
	probeTimeout    = time.Second
	// writeTimeout bounds an answer, with all of /verify's work before it.
	writeTimeout = verifyTimeout + 5*time.Second
	// readTimeout bounds a request, which has no body.
	readTimeout = 5 * time.Second
	// maxHeader is the largest header of a request in bytes.
	maxHeader = 8 << 10
	// maxVerify is how many comparisons with VPP run at once: each dumps all of
	// it. The others wait.
	maxVerify = 4
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
	select {
	case d.verifying <- struct{}{}:
		defer func() { <-d.verifying }()
	case <-ctx.Done():
		http.Error(w, "too many comparisons are under way", http.StatusServiceUnavailable)
		return
	}
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

// newServer bounds what one client can hold: a connection, for a time.
func newServer(ctx context.Context, h http.Handler, write time.Duration) *http.Server {
	return &http.Server{
		Handler: h, ReadTimeout: readTimeout, WriteTimeout: write, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *logrus.Entry) error {
	srv := newServer(ctx, h, writeTimeout)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := srv.Shutdown(bounded); err != nil {
			_ = srv.Close()
		}
	})
	log = log.WithField("address", l.Addr().String())
	log.Info("health and metrics served")
	if addr, ok := l.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
		log.Warn("whoever reaches this address reads health, metrics and what the attachments are: a Unix socket or 127.0.0.1 is for this node alone")
	}
	err := srv.Serve(l)
	if stop() {
		return fmt.Errorf("serve at %s: %w", l.Addr(), err)
	}
	<-done
	return nil
}
