package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/report"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// FuzzPrint: whatever pods, agents and whoever writes keys say, a person's
// terminal gets lines of printable characters. A pod writes its own status.
func FuzzPrint(f *testing.F) {
	const escape = `\u001b[2J\u001b]0;x\u0007\u009b1m\r\n\u202e`
	f.Add([]byte(`{"specRevision":1,"state":"Failed","reason":"`+escape+`","message":"`+escape+`","interface":"`+escape+`","link":"`+escape+`","socketPath":"`+escape+`"}`), []byte(`{}`))
	f.Add([]byte(`{"state":"`+escape+`"}`), []byte(`{"node":"`+escape+`","reason":"`+escape+`","message":"`+escape+`","runDir":"`+escape+`","agentVersion":"`+escape+`"}`))
	f.Add([]byte(`{"network":"`+escape+`","pod":{"id":"`+escape+`","namespace":"`+escape+`","name":"`+escape+`"},"sandbox":"`+escape+`","ifType":"`+escape+`","memif":{"role":"`+escape+`"}}`), []byte(`{}`))
	f.Add([]byte(`{}`), []byte(`{"node":"n`+escape+`","drift":[{"op":"`+escape+`","object":"`+escape+`","want":"a\n`+escape+`"}],"pending":[{"message":"`+escape+`"}],"held":[{"interface":"`+escape+`"}]}`))
	f.Add([]byte("{\"\x1b\":1}"), []byte("\x1b[2J"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var out bytes.Buffer
		a := &app{out: &out, errOut: &out}
		view := store.AttachmentView{
			Node: "n", Container: "c", IfName: "net1", PodID: "p",
			Host: versioned[schema.HostInterface](first), HostStatus: versioned[schema.InterfaceStatus](first),
			Pod: versioned[schema.PodInterface](first), PodStatus: versioned[schema.InterfaceStatus](second),
		}
		a.attachment(schema.Keys{}, view)
		a.nodeText(schema.Keys{}, store.NodeView{Node: "n", Agent: versioned[schema.AgentInfo](second)}, []store.AttachmentView{view})
		s := summarize(view)
		if err := a.table([]string{"A"}, [][]string{{s.pod, s.network, s.kind, s.host, s.podEnd, s.link, s.iface, s.mac, s.addresses, s.age(time.Now())}}); err != nil {
			t.Fatal(err)
		}
		var r report.Report
		if json.Unmarshal(second, &r) == nil {
			a.printReport(r)
		}
		for _, key := range []string{"nodes/n/host/c/net1", "nodes/n/host-status/c/net1", "nodes/n/pods/p/status/net1", "nodes/n/agent", string(first)} {
			e := store.Event{Key: schema.Keys{}.Root() + key, Value: first, Prev: second}
			a.line("%s", eventLine(schema.Keys{}, e, time.Now()))
		}
		printable(t, out.String())
	})
}

func versioned[V schema.Value](data []byte) *store.Versioned[V] {
	v, err := schema.Decode[V](data)
	return &store.Versioned[V]{Key: "k", Value: v, Rev: 1, Err: err, Raw: data}
}

func printable(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q is printed in %q", r, text)
		}
	}
}

// TestErrorsArePrintable: what an agent answers stands in an error.
func TestErrorsArePrintable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("\x1b[2J no report"))
	})
	server := &http.Server{Handler: answer, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	var out, errOut bytes.Buffer
	if code := run(context.Background(), []string{"verify", "--agent", "unix://" + path}, nil, &out, &errOut); code != exitError {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(errOut.String(), "no report") {
		t.Errorf("the error is %q", errOut.String())
	}
	printable(t, out.String()+errOut.String())
}
