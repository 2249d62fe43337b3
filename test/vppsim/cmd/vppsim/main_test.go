package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/vpp-cni/vpp-cni/test/vppsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	startup := filepath.Join(dir, "startup.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(startup, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		startup string
		args    []string
		want    options
		wantErr bool
	}{
		{
			"flags", "",
			[]string{"--api-socket", "/r/a", "--runtime-dir", "/r", "--fault-socket", "/r/f"},
			options{apiSocket: "/r/a", runtimeDir: "/r", faultSocket: "/r/f"},
			false,
		},
		{
			"start-up file", "unix {\n runtime-dir /run/x # ours\n cli-listen /run/x/cli.sock nodaemon\n}\nsocksvr { socket-name /run/x/api.sock }\nplugins { plugin default { disable } }",
			[]string{"-c", startup},
			options{apiSocket: "/run/x/api.sock", runtimeDir: "/run/x"},
			false,
		},
		{
			"on one line", "unix{nodaemon runtime-dir /r}socksvr{socket-name /r/s}",
			[]string{"-c", startup},
			options{apiSocket: "/r/s", runtimeDir: "/r"},
			false,
		},
		{
			"default socket", "unix { runtime-dir /r }\nsocksvr { default }",
			[]string{"-c", startup},
			options{apiSocket: "/r/api.sock", runtimeDir: "/r"},
			false,
		},
		{
			"flag before file", "socksvr { socket-name /r/s }",
			[]string{"-c", startup, "--api-socket", "/other"},
			options{apiSocket: "/other"},
			false,
		},
		{"version", "", []string{"--version"}, options{version: true}, false},
		{"no socket", "", nil, options{}, true},
		{"no socket in the file", "unix { nodaemon }", []string{"-c", startup}, options{}, true},
		{"no such file", "", []string{"-c", filepath.Join(dir, "missing")}, options{}, true},
		{"unknown flag", "", []string{"--frobnicate"}, options{}, true},
		{"argument", "", []string{"--api-socket", "/r/a", "more"}, options{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			write(test.startup)
			got, err := parseOptions(test.args, io.Discard)
			if (err != nil) != test.wantErr {
				t.Fatalf("error %v", err)
			}
			if err == nil && got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"--version"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "25.10") {
		t.Errorf("version %q, %v", out.String(), err)
	}
}

// process runs serve as main does, and gives the end of it.
func process(t *testing.T) (fault string, stop func(), ended chan error) {
	t.Helper()
	dir := t.TempDir()
	log := logrus.New()
	log.SetOutput(io.Discard)
	sim, err := vppsim.Start(vppsim.Config{APISocket: filepath.Join(dir, "api.sock"), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	fault = filepath.Join(dir, "fault.sock")
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- serve(ctx, sim, fault, log) }()
	return fault, cancel, ended
}

// say sends one command over the fault socket and gives the answer.
func say(t *testing.T, fault, command string) string {
	t.Helper()
	var conn net.Conn
	deadline := time.Now().Add(5 * time.Second)
	for {
		var err error
		if conn, err = net.Dial("unix", fault); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestFaultSocket(t *testing.T) {
	fault, stop, ended := process(t)
	for command, want := range map[string]string{
		"refuse memif_create_v2 -14 1": "ok",
		"calls memif_create_v2":        "ok 0",
		"restart":                      "ok",
	} {
		if got := say(t, fault, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if got := say(t, fault, "frobnicate"); !strings.HasPrefix(got, "error ") {
		t.Errorf("frobnicate: %q", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("orderly end: %v", err)
	}
}

func TestKillEndsTheProcess(t *testing.T) {
	fault, _, ended := process(t)
	say(t, fault, "kill")
	if err := <-ended; !errors.Is(err, errCrashed) {
		t.Errorf("ended with %v, want %v", err, errCrashed)
	}
}
