package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func versionCall() *exec.Cmd {
	cmd := exec.Command(filepath.Join(programs.bin, "vpp-cni"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND=VERSION")
	return cmd
}

// TestVersionIsAnsweredEarly looks at what the runtime initialises: VERSION must
// cost nothing of etcd's client, gRPC and protobuf, whatever they add to their
// initialisers.
func TestVersionIsAnsweredEarly(t *testing.T) {
	t.Parallel()
	cmd := versionCall()
	cmd.Env = append(cmd.Env, "GODEBUG=inittrace=1")
	var out, trace bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := supported().Encode(&want); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Errorf("answered %q, want %q as package skel does", out.String(), want.String())
	}
	begun := regexp.MustCompile(`(?m)^init (\S+)`).FindAllStringSubmatch(trace.String(), -1)
	if len(begun) == 0 {
		t.Fatalf("the runtime names no package that it initialised: %q", trace.String())
	}
	for _, b := range begun {
		for _, heavy := range []string{"go.etcd.io/", "google.golang.org/grpc", "google.golang.org/protobuf/", "google.golang.org/genproto/", "net/http", "encoding/json"} {
			// A leaf of gRPC that needs nothing of its own may come first.
			if strings.HasPrefix(b[1], heavy) && b[1] != "google.golang.org/grpc/internal/backoff" {
				t.Errorf("VERSION initialises %s", b[1])
			}
		}
	}
}

// TestVersionOnFullDisk: an answer that cannot be written is an error, as with
// all verbs.
func TestVersionOnFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here: " + err.Error())
	}
	defer func() { _ = full.Close() }()
	cmd := versionCall()
	cmd.Stdout = full
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit status 1", err)
	}
}
