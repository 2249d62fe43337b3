package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/vpp-cni/vpp-cni/test/etcdtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vpp-cnictl": main})
}

// TestScripts runs the program itself against a real etcd, one for each script.
// Beside it the scripts have
//
//	put <key> <value>     write a key under /vpp-cni/v1/
//	del <key>             delete it
//	holds <key> <text>    fail unless its value has text in it
//	agent <file> [code]   serve file as a host agent's GET /verify on $AGENT
//	waitfor <file> <text> until a background command has written text
//
// A script whose name begins with users- has an etcd with TLS, client
// certificates and users, $CA, and <name>.crt and .key of root and
// vpp-cni-operator; there is also
//
//	issue <name>          write <name>.crt and <name>.key
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"put": func(ts *testscript.TestScript, _ bool, args []string) {
				_, err := ts.Value(rawKey{}).(*clientv3.Client).Put(context.Background(), "/vpp-cni/v1/"+args[0], args[1])
				ts.Check(err)
			},
			"del": func(ts *testscript.TestScript, _ bool, args []string) {
				_, err := ts.Value(rawKey{}).(*clientv3.Client).Delete(context.Background(), "/vpp-cni/v1/"+args[0])
				ts.Check(err)
			},
			"holds": func(ts *testscript.TestScript, _ bool, args []string) {
				resp, err := ts.Value(rawKey{}).(*clientv3.Client).Get(context.Background(), "/vpp-cni/v1/"+args[0])
				ts.Check(err)
				if len(resp.Kvs) == 0 || !strings.Contains(string(resp.Kvs[0].Value), args[1]) {
					ts.Fatalf("%s holds %v, want %s", args[0], resp.Kvs, args[1])
				}
			},
			"issue": func(ts *testscript.TestScript, _ bool, args []string) {
				a := ts.Value(accessKey{}).(*etcdtest.Access)
				ts.Check(a.CA.IssueTo(etcdtest.Pair{Cert: ts.MkAbs(args[0] + ".crt"), Key: ts.MkAbs(args[0] + ".key")}, args[0], nil))
			},
			"agent":   serveAgent,
			"waitfor": waitFor,
		},
	})
}

// rawKey is where a script's plain etcd client stands, accessKey how to get at an
// etcd with users.
type (
	rawKey    struct{}
	accessKey struct{}
)

func setup(e *testscript.Env) error {
	// Not the script's own directory: a socket's path would not fit.
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		return err
	}
	e.Defer(func() { _ = os.RemoveAll(dir) })
	users := strings.HasPrefix(filepath.Base(e.WorkDir), "script-users-")
	c, err := etcdtest.New(dir, etcdtest.Options{Auth: users})
	if err != nil {
		return err
	}
	if users {
		e.Values[accessKey{}] = c.Access()
		e.Setenv("CA", c.Access().CA.File)
	}
	e.Defer(c.Close)
	raw, err := c.Client()
	if err != nil {
		return err
	}
	e.Defer(func() { _ = raw.Close() })
	e.Values[rawKey{}] = raw
	e.Setenv("ETCD", c.Endpoints()[0])
	e.Setenv("AGENT", filepath.Join(dir, "agent.sock"))
	config := "etcd:\n  endpoints: [\"" + c.Endpoints()[0] + "\"]\nagent:\n  http: unix://" + filepath.Join(dir, "agent.sock") + "\n"
	return os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), []byte(config), 0o600)
}

func serveAgent(ts *testscript.TestScript, _ bool, args []string) {
	body, code := ts.ReadFile(args[0]), http.StatusOK
	if len(args) > 1 && args[1] == "503" {
		code = http.StatusServiceUnavailable
	}
	_ = os.Remove(ts.Getenv("AGENT"))
	l, err := net.Listen("unix", ts.Getenv("AGENT"))
	ts.Check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, _ *http.Request) {
		if code != http.StatusOK {
			w.Header().Set("Warning", `199 - "no \"VPP\" there"`)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			ts.Logf("agent: %v", err)
		}
	}()
	ts.Defer(func() {
		_ = srv.Close()
		<-done
	})
}

func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(data), args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not hold %q", args[0], args[1])
}
