package store_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/store"
	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

// tlsEnv is an etcd that asks for client certificates and has no users.
type tlsEnv struct {
	*env
	ca             *etcdtest.CA
	server, client etcdtest.Pair
	cfg            store.Config
}

func newTLSEnv(t *testing.T) *tlsEnv {
	t.Helper()
	ca := newCA(t)
	e := &tlsEnv{ca: ca, server: issue(t, ca, "server", nil), client: issue(t, ca, "client", nil)}
	e.env = newEnv(t, etcdtest.Options{CACert: ca.File, Cert: e.server.Cert, Key: e.server.Key, ClientAuth: true})
	e.cfg = store.Config{Endpoints: e.cluster.Endpoints(), CACert: ca.File, Cert: e.client.Cert, Key: e.client.Key, RequestTimeout: time.Second}
	return e
}

func newCA(t *testing.T) *etcdtest.CA {
	t.Helper()
	ca, err := etcdtest.NewCA(t.TempDir())
	is(t, err, nil)
	return ca
}

func issue(t *testing.T, ca *etcdtest.CA, name string, edit func(*x509.Certificate)) etcdtest.Pair {
	t.Helper()
	p, err := ca.Issue(name, edit)
	is(t, err, nil)
	return p
}

// until makes a certificate that expires then.
func until(at time.Time) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = at }
}

// reconnect breaks every connection, and wants the store's next call to end so.
func (e *tlsEnv) reconnect(s *store.Store, want ...string) {
	e.Helper()
	e.cluster.Stop(0)
	is(e.T, e.cluster.Restart(0), nil)
	if len(want) == 0 {
		eventually(e.T, "look", func() string { _, err := s.Look(e.ctx, lookup("c1", "p1")); return errText(err) }, "")
		return
	}
	eventually(e.T, "look", func() string {
		_, err := s.Look(e.ctx, lookup("c1", "p1"))
		for _, w := range want {
			if !strings.Contains(errText(err), w) {
				return "no " + w + " in: " + errText(err)
			}
		}
		return ""
	}, "")
}

// TestRenewedCertificate: a certificate that has expired is no matter to the
// connection that stands, is told of, keeps the next one away with words that
// name the file, and when it is renewed, that is used without a restart.
func TestRenewedCertificate(t *testing.T) {
	e := newTLSEnv(t)
	end := time.Now().Add(3 * time.Second).Truncate(time.Second)
	is(t, e.ca.IssueTo(e.client, "client", until(end)), nil)
	s := openStore(t, e.cfg)
	m := follow(e.env, s)
	eventually(t, "calls", m.told, "snapshot ")
	e.put(hostKey(e.env, 1), "a")
	eventually(t, "view", m.view, "host/c1/net1=a")
	time.Sleep(time.Until(end) + 100*time.Millisecond)
	e.put(hostKey(e.env, 1), "b")
	eventually(t, "calls after the end of the certificate", m.told, "snapshot \nput host/c1/net1=a\nput host/c1/net1=b")
	expired := "the client certificate " + e.client.Cert + " expired at " + end.UTC().Format(time.RFC3339)
	if err := s.CheckCredentials(); !strings.Contains(errText(err), expired) {
		t.Errorf("check: %v, want %q", err, expired)
	}
	e.reconnect(s, e.cfg.Endpoints[0], expired)
	is(t, e.ca.IssueTo(e.client, "client", nil), nil)
	eventually(t, "look", func() string { _, err := s.Look(e.ctx, lookup("c1", "p1")); return errText(err) }, "")
	e.put(hostKey(e.env, 1), "c")
	eventually(t, "view", m.view, "host/c1/net1=c")
	is(t, s.CheckCredentials(), nil)
}

// TestHalfWrittenCertificate: the pair that was read before is used until the
// new one is whole.
func TestHalfWrittenCertificate(t *testing.T) {
	e := newTLSEnv(t)
	s := openStore(t, e.cfg)
	_, err := s.Look(e.ctx, lookup("c1", "p1"))
	is(t, err, nil)
	next := issue(t, e.ca, "next", nil)
	for _, step := range []struct{ from, to, want string }{
		{next.Cert, e.client.Cert, "private key does not match"},
		{next.Key, e.client.Key, ""},
	} {
		data, err := os.ReadFile(step.from)
		is(t, err, nil)
		is(t, os.WriteFile(step.to, data, 0o600), nil)
		e.reconnect(s)
		err = s.CheckCredentials()
		if step.want == "" {
			is(t, err, nil)
		} else if !strings.Contains(errText(err), step.want) || !strings.Contains(errText(err), e.client.Key) {
			t.Errorf("check: %v, want it to say %q and to name the files", err, step.want)
		}
		same(t, "user", s.User(), map[bool]string{true: "next", false: "client"}[step.want == ""])
	}
	is(t, os.Remove(e.client.Key), nil)
	e.reconnect(s)
	if err := s.CheckCredentials(); !strings.Contains(errText(err), "no such file") {
		t.Errorf("check: %v, want it to say that the key is gone", err)
	}
	is(t, e.ca.IssueTo(e.client, "client", nil), nil)
	is(t, os.Chmod(e.client.Key, 0o644), nil)
	if err := s.CheckCredentials(); !strings.Contains(errText(err), "everybody on this machine may read the private key "+e.client.Key) {
		t.Errorf("check: %v, want it to say who may read the key", err)
	}
	is(t, os.Chmod(e.client.Key, 0o600), nil)
	is(t, e.ca.IssueTo(e.client, "client", until(time.Now().Add(2*time.Minute))), nil)
	if err := s.CheckCredentials(); !strings.Contains(errText(err), "expires at") {
		t.Errorf("check: %v, want it to say that the end is near", err)
	}
}

// TestRotatedCA: a CA takes another's place in the three steps that this takes,
// with no restart of ours.
func TestRotatedCA(t *testing.T) {
	e := newTLSEnv(t)
	other := newCA(t)
	first, err := os.ReadFile(e.ca.File)
	is(t, err, nil)
	second, err := os.ReadFile(other.File)
	is(t, err, nil)
	s := openStore(t, e.cfg)
	m := follow(e.env, s)
	eventually(t, "calls", m.told, "snapshot ")
	// etcd has the same file for its clients' CA.
	is(t, os.WriteFile(e.ca.File, append(first, second...), 0o600), nil)
	e.put(hostKey(e.env, 1), "a")
	eventually(t, "calls", m.told, "snapshot \nput host/c1/net1=a")
	is(t, other.IssueTo(e.server, "server", nil), nil)
	e.reconnect(s)
	is(t, other.IssueTo(e.client, "client", nil), nil)
	is(t, os.WriteFile(e.ca.File, second, 0o600), nil)
	e.reconnect(s)
	is(t, os.WriteFile(e.ca.File, []byte("no certificate"), 0o600), nil)
	if err := s.CheckCredentials(); !strings.Contains(errText(err), "cacert: "+e.ca.File+" holds no certificate") {
		t.Errorf("check: %v", err)
	}
	is(t, os.WriteFile(e.ca.File, second, 0o600), nil)
	e.reconnect(s)
	eventually(t, "view", m.view, "host/c1/net1=a")
}

// TestTLSErrors: each failure says what is wrong, with which file, at which
// endpoint.
func TestTLSErrors(t *testing.T) {
	good := newTLSEnv(t)
	_, err := openStore(t, good.cfg).Look(t.Context(), lookup("c1", "p1"))
	is(t, err, nil)
	other := newCA(t)
	past := time.Now().Add(-time.Minute)
	plain := etcdtest.Start(t, etcdtest.Options{TCP: true})
	serve := func(edit func(*x509.Certificate)) []string {
		p := issue(t, good.ca, "server-"+filepath.Base(t.TempDir()), edit)
		return etcdtest.Start(t, etcdtest.Options{CACert: good.ca.File, Cert: p.Cert, Key: p.Key}).Endpoints()
	}
	for name, tt := range map[string]struct {
		edit func(*store.Config)
		want []string
	}{
		"no client certificate": {
			func(c *store.Config) { c.Cert, c.Key = "", "" },
			[]string{"etcd asks for a client certificate and none is set (cert, key)"},
		},
		"etcd's is of another CA": {
			func(c *store.Config) { c.CACert = other.File },
			[]string{"not accepted with cacert " + other.File, "unknown authority"},
		},
		"etcd's is of no CA of the system's": {
			func(c *store.Config) { c.CACert = "" },
			[]string{"not accepted with the system's CA certificates", "unknown authority"},
		},
		"ours is of another CA": {
			func(c *store.Config) {
				p := issue(t, other, "stranger", nil)
				c.Cert, c.Key = p.Cert, p.Key
			},
			[]string{"does etcd accept the client certificate ", "stranger.crt", `CN "stranger", signed by "test CA `},
		},
		"ours has expired": {
			func(c *store.Config) {
				p := issue(t, good.ca, "late", until(past))
				c.Cert, c.Key = p.Cert, p.Key
			},
			[]string{"late.crt expired at " + past.UTC().Format(time.RFC3339)},
		},
		"ours is not valid yet": {
			func(c *store.Config) {
				p := issue(t, good.ca, "early", func(x *x509.Certificate) { x.NotBefore = time.Now().Add(time.Hour) })
				c.Cert, c.Key = p.Cert, p.Key
			},
			[]string{"early.crt is not valid before "},
		},
		"etcd's has expired": {
			func(c *store.Config) { c.Endpoints = serve(until(past)) },
			[]string{"not accepted with cacert " + good.ca.File, "expired"},
		},
		"etcd's has another name": {
			func(c *store.Config) {
				c.Endpoints = serve(func(x *x509.Certificate) { x.IPAddresses, x.DNSNames = nil, []string{"etcd.example.org"} })
			},
			[]string{"the certificate of etcd at 127.0.0.1", "127.0.0.1"},
		},
		"etcd is plain": {
			func(c *store.Config) {
				c.Endpoints = []string{strings.Replace(plain.Endpoints()[0], "http://", "https://", 1)}
			},
			[]string{"authentication handshake failed"},
		},
		"etcd is TLS and we are not": {
			func(c *store.Config) {
				*c = store.Config{Endpoints: []string{strings.Replace(c.Endpoints[0], "https://", "http://", 1)}, RequestTimeout: c.RequestTimeout}
			},
			[]string{"no answer within"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good.cfg
			tt.edit(&cfg)
			_, err := openStore(t, cfg).Look(t.Context(), lookup("c1", "p1"))
			is(t, err, store.ErrUnavailable)
			for _, w := range append(tt.want, cfg.Endpoints[0]) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q, want it to say %q", err, w)
				}
			}
			t.Log(err)
		})
	}
}
