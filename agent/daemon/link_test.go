package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/agent/daemon"
	"github.com/vpp-cni/vpp-cni/agent/vpp/model"
	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestLinkMovesTheStatus connects a pod's VPP to the socket and cuts it off.
func TestLinkMovesTheStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	b.put("c1", host("p1"))
	s := b.await("c1", 0, "Ready/Applied")

	peer, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(b.dir, "pod.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peer.Close)
	pod := b.driver(peer.APISocket(), filepath.Join(b.runDir, "pods"))
	m := model.Memif{Tag: "vpp-cni/net1/pod", Socket: s.SocketPath, MAC: model.MAC{2, 1}}
	for _, o := range []model.Object{model.Socket{Path: s.SocketPath}, m, model.AdminUp{Interface: m.ID()}} {
		if err := pod.Put(t.Context(), o, nil); err != nil {
			t.Fatal(err)
		}
	}
	link := func(want schema.Link) {
		t.Helper()
		b.eventually("link "+string(want), func() error {
			s, err := b.status("c1")
			if err == nil && s.Link != want {
				err = fmt.Errorf("link is %s", s.Link)
			}
			return err
		})
	}
	link(schema.LinkUp)
	peer.Kill()
	link(schema.LinkDown)
	b.await("c1", 0, "Ready/Applied")
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Code, string(body)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.start()
	h := b.daemon.Handler(b.daemon.Checks)
	if code, body := get(t, h, "/livez"); code != http.StatusOK {
		t.Errorf("livez: %d %s", code, body)
	}
	b.eventually("etcd", func() error { return b.daemon.State().Etcd })
	if code, body := get(t, h, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "vpp: not ready: ") {
		t.Errorf("readyz without VPP: %d %s", code, body)
	}
	if code, _ := get(t, h, "/verify"); code != http.StatusServiceUnavailable {
		t.Errorf("verify without VPP: %d", code)
	}
	b.startVPP()
	b.put("c1", host("p1", func(h *schema.HostInterface) { h.Memif.Secret = schema.NewSecret("s3cret") }))
	b.await("c1", 0, "Ready/Applied")
	b.ready()
	if code, body := get(t, h, "/readyz"); code != http.StatusOK || body != "etcd: ok\nvpp: ok\nreconciler: ok\n" {
		t.Errorf("readyz: %d %s", code, body)
	}
	_, body := get(t, h, "/metrics")
	for _, want := range []string{
		`vppcni_attachments{state="Ready"} 1`, `vppcni_writes_total{kind="memif",op="put"} 1`,
		"vppcni_vpp_connected 1", "vppcni_etcd_connected 1",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %q", want)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.startVPP()
	b.start()
	h := b.daemon.Handler(b.daemon.Checks)
	b.put("c1", host("p1", func(h *schema.HostInterface) { h.Memif.Secret, h.MTU = schema.NewSecret("s3cret"), 1400 }))
	b.await("c1", 0, "Ready/Applied")
	b.ready() // an event of the connection may have asked for another full pass
	code, body := get(t, h, "/verify")
	want := fmt.Sprintf(`{"node":"n1","vppPID":%d,"inSync":true,"drift":[],"pending":[]}`, b.sim.PID())
	if code != http.StatusOK || strings.TrimSpace(body) != want {
		t.Errorf("verify: %d %s, want %s", code, body, want)
	}

	operator := b.driver(b.sim.APISocket(), filepath.Join(b.runDir, "pods"))
	if _, err := operator.Dump(t.Context()); err != nil {
		t.Fatal(err)
	}
	tag := model.AttachmentTag("net1", "c1")
	memif := model.ID{Kind: model.KindMemif, Name: string(tag)}
	if err := operator.Put(t.Context(), model.MTU{Interface: memif, Bytes: 1300}, nil); err != nil {
		t.Fatal(err)
	}
	b.putRaw("c2", "{")
	b.await("c2", 0, "Failed/Invalid")
	_, body = get(t, h, "/verify")
	var rep report.Report
	if err := json.Unmarshal([]byte(body), &rep); err != nil {
		t.Fatal(err)
	}
	if rep.InSync || len(rep.Drift) != 1 || len(rep.Pending) != 1 || rep.Pending[0].Attachment != "c2/net1" {
		t.Fatalf("report %s", body)
	}
	d := rep.Drift[0]
	if d.Op != "put" || d.Object != "mtu "+string(tag) || d.Attachment != "c1/net1" ||
		!strings.Contains(d.Want, "Bytes=1400") || !strings.Contains(d.Have, "Bytes=1300") {
		t.Errorf("drift %+v", d)
	}
	if err := operator.Put(t.Context(), model.MTU{Interface: memif, Bytes: 1400}, nil); err != nil {
		t.Fatal(err)
	}
	b.sim.Refuse("memif_delete", -1, -1)
	b.put("c1", host("p1", func(h *schema.HostInterface) { h.Memif.Secret, h.MTU = schema.NewSecret("n3xt"), 1400 }))
	said := ""
	b.eventually("a report of another secret", func() error {
		_, body = get(t, h, "/verify")
		said += body
		if !strings.Contains(body, "Secret=[redacted]") || !strings.Contains(body, "Secret=[another]") {
			return fmt.Errorf("report %s", body)
		}
		return nil
	})
	b.del("c1")
	b.eventually("a report of what is left", func() error {
		_, body = get(t, h, "/verify")
		said += body
		if !strings.Contains(body, `"op":"del"`) {
			return fmt.Errorf("report %s", body)
		}
		return nil
	})
	if strings.Contains(said, "s3cret") || strings.Contains(said, "n3xt") || strings.Contains(said, "Mark") {
		t.Error("the report holds a secret")
	}
	b.sim.ClearFaults()
	b.awaitGone("c1")
}

func TestListen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "s")
	l, err := daemon.Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // a process that answers
		for {
			c, failed := l.Accept()
			if failed != nil {
				return
			}
			_ = c.Close()
		}
	}()
	if _, err = daemon.Listen(t.Context(), "unix://"+path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("second listener: %v, want a refusal that says why", err)
	}
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := daemon.Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatalf("after the end of the first: %v", err)
	}
	time.Sleep(time.Millisecond)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedInterfaceComesBack: by the event, not by the audit of a minute.
func TestDeletedInterfaceComesBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		deleted model.Kind
		host    schema.HostInterface
	}{
		"memif": {model.KindMemif, host("p1")},
		"sub-interface of a VLAN": {model.KindSubInterface, host("p1", func(h *schema.HostInterface) {
			h.Bridge.VLAN = 7
		})},
		"shared gateway": {model.KindLoopback, host("p1", func(h *schema.HostInterface) {
			h.NetType, h.Bridge = schema.NetInterface, nil
			h.PodAddresses, h.Gateways = addrs("10.0.0.9"), addrs("10.0.0.1")
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.startVPP()
			b.start()
			b.put("c1", tc.host)
			b.await("c1", 0, "Ready/Applied")
			operator := b.driver(b.sim.APISocket(), filepath.Join(b.runDir, "pods"))
			before, err := operator.Dump(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, o := range before {
				if o.ID().Kind == tc.deleted {
					found = true
					err = errors.Join(err, operator.Delete(t.Context(), o))
				}
			}
			if err != nil || !found {
				t.Fatalf("the interface is not deleted: %v", err)
			}
			b.eventually("the interface", func() error {
				now, err := operator.Dump(t.Context())
				if err == nil && len(now) != len(before) {
					err = fmt.Errorf("%d objects of %d", len(now), len(before))
				}
				return err
			})
		})
	}
}
