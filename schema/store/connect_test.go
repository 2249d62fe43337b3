package store_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

func TestOpenRefuses(t *testing.T) {
	file := func(content string) string {
		p := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ok := []string{"127.0.0.1:2379"}
	tests := []struct {
		name string
		cfg  store.Config
		want string
	}{
		{"no endpoint", store.Config{}, "no endpoints are given"},
		{"empty endpoint", store.Config{Endpoints: []string{""}}, `endpoint ""`},
		{"no port", store.Config{Endpoints: []string{"http://etcd"}}, "host:port"},
		{"port out of range", store.Config{Endpoints: []string{"etcd:65536"}}, "host:port"},
		{"a path", store.Config{Endpoints: []string{"http://etcd:2379/v3"}}, "host:port"},
		{"another scheme", store.Config{Endpoints: []string{"ftp://etcd:2379"}}, `endpoint "ftp://etcd:2379"`},
		{"relative socket", store.Config{Endpoints: []string{"unix://etcd.sock"}}, "unix:///path"},
		{"long socket", store.Config{Endpoints: []string{"unix:///" + strings.Repeat("x", 107)}}, "unix:///path"},
		{"plain and TLS mixed", store.Config{Endpoints: []string{"http://a:1", "https://b:2"}}, "they must be alike"},
		{"TLS files without TLS", store.Config{Endpoints: []string{"http://a:1"}, CACert: "x"}, "write https://"},
		{"cacert missing", store.Config{Endpoints: ok, CACert: "/nowhere"}, "/nowhere"},
		{"cacert holds none", store.Config{Endpoints: ok, CACert: file("hello")}, "holds no certificate"},
		{"cert without key", store.Config{Endpoints: ok, Cert: "x"}, "cert and key go together"},
		{"cert that is none", store.Config{Endpoints: ok, Cert: file("x"), Key: file("y")}, "cert "},
		{"user without password", store.Config{Endpoints: ok, User: "u"}, "user and passwordFile go together"},
		{"password missing", store.Config{Endpoints: ok, User: "u", PasswordFile: "/nowhere"}, "/nowhere"},
		{"password empty", store.Config{Endpoints: ok, User: "u", PasswordFile: file("\n")}, "is empty"},
		{"prefix", store.Config{Endpoints: ok, Prefix: "x//y"}, "prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := store.Open(tt.cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want it to say %q", err, tt.want)
			}
		})
	}
}

// TestCredentialFiles: a network configuration may name any file of the node. None
// makes Open wait or read without end, and the error names the field and shows
// nothing of the file.
func TestCredentialFiles(t *testing.T) {
	const content = "what-is-in-it"
	dir := t.TempDir()
	fifo, small, large := filepath.Join(dir, "fifo"), filepath.Join(dir, "small"), filepath.Join(dir, "large")
	is(t, syscall.Mkfifo(fifo, 0o600), nil)
	is(t, os.WriteFile(small, []byte(content), 0o600), nil)
	is(t, os.WriteFile(large, []byte(strings.Repeat(content, 1<<20)), 0o600), nil)
	for path, why := range map[string]string{
		fifo: "not a regular file", "/dev/zero": "not a regular file", dir: "not a regular file",
		large: "too large", "/proc/self/status": "", small: "",
	} {
		for field, cfg := range map[string]store.Config{
			"cacert":       {CACert: path},
			"cert":         {Cert: path, Key: small},
			"key":          {Cert: small, Key: path},
			"passwordFile": {User: "u", PasswordFile: path},
		} {
			cfg.Endpoints = []string{"127.0.0.1:1"}
			opened := make(chan error, 1)
			go func() {
				s, err := store.Open(cfg)
				if err == nil {
					err = s.Close()
				}
				opened <- err
			}()
			select {
			case err := <-opened:
				text := errText(err)
				if takes := field == "passwordFile" && why == ""; takes != (err == nil) {
					t.Errorf("%s %s: %v", field, path, err)
				} else if !takes && (why != "" && !strings.Contains(text, field+": ") || !strings.Contains(text, path) || !strings.Contains(text, why)) {
					t.Errorf("%s %s: the error is %q, want it to name both and say %q", field, path, text, why)
				}
				if strings.Contains(text, content) || strings.Contains(text, "TracerPid") {
					t.Errorf("%s %s: the error shows what is in it: %q", field, path, text)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s %s is still being read", field, path)
			}
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	is(t, err, nil)
	defer func() { _ = l.Close() }()
	for name, tt := range map[string]struct{ endpoint, want string }{
		"nothing listens":  {"unix:///nowhere/etcd.sock", "no such file or directory"},
		"it is no etcd":    {l.Addr().String(), "no answer within"},
		"no such host TLS": {"https://" + l.Addr().String(), "no answer within"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, store.Config{Endpoints: []string{tt.endpoint}, RequestTimeout: 300 * time.Millisecond})
			start := time.Now()
			_, err := s.Look(t.Context(), lookup("c1", "p1"))
			is(t, err, store.ErrUnavailable)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s with a time-out of 300ms", took)
			}
			for _, want := range []string{tt.endpoint, tt.want, "attachment c1/net1"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestCanceledCall(t *testing.T) {
	s := openStore(t, store.Config{Endpoints: []string{"unix:///nowhere/etcd.sock"}})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("SIGTERM")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	_, err := s.Look(ctx, lookup("c1", "p1"))
	is(t, err, stop)
	if errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v is ErrUnavailable, want the caller's own reason only", err)
	}
}

func TestAwayAndBack(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), RequestTimeout: 500 * time.Millisecond})
	_, err := s.Look(e.ctx, lookup("c1", "p1"))
	is(t, err, nil)
	e.cluster.Stop(0)
	_, err = s.Attach(e.ctx, attachment("c1"), store.View{})
	is(t, err, store.ErrUnavailable)
	_, err = s.Detach(e.ctx, lookup("c1", "p1"), 0)
	is(t, err, store.ErrUnavailable)
	is(t, e.cluster.Restart(0), nil)
	eventually(t, "look", func() string { _, err := s.Look(e.ctx, lookup("c1", "p1")); return errText(err) }, "")
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestOneOfThreeEndpointsIsEnough(t *testing.T) {
	e := newEnv(t, etcdtest.Options{Members: 3})
	e.announce(node)
	e.cluster.Stop(0)
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints()})
	for range 5 { // whichever endpoint comes first
		_, err := s.Look(e.ctx, lookup("c1", "p1"))
		is(t, err, nil)
	}
	e.cluster.Stop(1)
	short := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), RequestTimeout: time.Second})
	_, err := short.Look(e.ctx, lookup("c1", "p1"))
	is(t, err, store.ErrUnavailable) // no quorum
}

func TestUserAndPassword(t *testing.T) {
	e := newPasswordEnv(t)
	s := e.open()
	seen, err := s.Look(e.ctx, lookup("c1", "p1"))
	is(t, err, nil)
	_, err = s.Attach(e.ctx, attachment("c1"), seen)
	is(t, err, nil)
	m := follow(e.env, s)
	eventually(t, "follow", func() string { k, _, _ := strings.Cut(m.view(), "="); return k }, "host/c1/net1")

	_, err = e.store.Look(e.ctx, lookup("c1", "p1"))
	is(t, err, store.ErrDenied)
	if !strings.Contains(err.Error(), "without a user") {
		t.Errorf("no user: %v", err)
	}
	_, _, err = s.Subtree("/elsewhere/").List(e.ctx, "")
	is(t, err, store.ErrDenied)
	if !strings.Contains(err.Error(), "to user cni: etcdserver: permission denied") {
		t.Errorf("outside of the role: %v", err)
	}
	e.write("wrong")
	_, err = e.open().Look(e.ctx, lookup("c1", "p1"))
	is(t, err, store.ErrDenied)
	if !strings.Contains(err.Error(), "log in as cni") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v, want it to name the user and not the password", err)
	}
}

func TestKeysUseThePrefix(t *testing.T) {
	e := newEnv(t, etcdtest.Options{})
	s := openStore(t, store.Config{Endpoints: e.cluster.Endpoints(), Prefix: "/lab/a"})
	e.put("/lab/a/v1/networks/blue", `{"vrf":7}`)
	e.put(e.store.Keys().Network("red"), `{"vrf":8}`)
	got, _, err := s.Networks(e.ctx)
	is(t, err, nil)
	if len(got) != 1 || got[0].Name != "blue" || got[0].Value != (schema.Network{VRF: 7}) {
		t.Errorf("networks %+v, want blue with VRF 7 only", got)
	}
}
