package report_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpp-cni/vpp-cni/schema/report"
)

// FuzzAsk: whatever answers at the agent's address, byte by byte, makes a report
// of a node or an error that a person can read, and nobody waits for it past
// the caller's time.
func FuzzAsk(f *testing.F) {
	ok := func(body string) []byte { return []byte("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body) }
	f.Add(ok(`{"node":"n","vppPID":7,"inSync":true,"drift":[],"pending":[]}`))
	f.Add(ok(`{"node":"n","drift":[{"op":"put","object":"memif x\u001b[2J","attachment":"c/net1,d/net1","want":"a\nb","have":""}],"pending":[null],"held":[{}]}`))
	f.Add(ok(`{"node":""}`))
	f.Add(ok(strings.Repeat("[", 5000)))
	f.Add([]byte("HTTP/1.1 503 no\r\nWarning: 199 - \"\\x1b\\n\"\r\nContent-Length: 3\r\n\r\nx\x1b[2J"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Add([]byte("HTTP/1.1 307 x\r\nLocation: http://agent/verify\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("\x00\x00\x00"))
	f.Add(bytes.Repeat([]byte("0"), 2490)) // no HTTP, and net/http's error quotes it
	var answer []byte
	path := filepath.Join(f.TempDir(), "agent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(c)) // the question is no matter
			_, _ = c.Write(answer)
			_ = c.Close()
		}
	}()
	f.Fuzz(func(t *testing.T, data []byte) {
		answer = data
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		start := time.Now()
		r, err := report.Ask(ctx, "unix://"+path)
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("asked for %v", took)
		}
		if err == nil && r.Node == "" {
			t.Fatal("a report of no node")
		}
		if err != nil && (len(err.Error()) > 500 || !strings.Contains(err.Error(), path)) {
			t.Fatalf("the error is %q", err)
		}
	})
}
