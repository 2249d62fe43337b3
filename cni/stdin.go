package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/containernetworking/cni/pkg/types"
)

// maxStdin is the largest network configuration in bytes that is read,
// prevResult and all.
const maxStdin = 1 << 20

// boundStdin reads the network configuration before package skel does, which
// would read without end, and hands it on through a pipe. It returns the
// configuration's cniVersion, for error answers; empty where there is none.
func boundStdin(command string) (string, error) {
	if command == "" || command == "VERSION" {
		return "", nil
	}
	data, err := io.ReadAll(io.LimitReader(os.Stdin, maxStdin+1))
	if err != nil {
		return "", fail(types.ErrIOFailure, "cannot read the network configuration from standard input", err)
	}
	if len(data) > maxStdin {
		return "", fail(types.ErrDecodingFailure, fmt.Sprintf("the network configuration is too large: over %d bytes", maxStdin), nil)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return "", fail(types.ErrIOFailure, "cannot make a pipe", err)
	}
	os.Stdin = r
	go func() {
		_, _ = w.Write(data)
		_ = w.Close()
	}()
	var conf struct {
		CNIVersion string `json:"cniVersion"`
	}
	_ = json.Unmarshal(data, &conf) // what is wrong with it is said later
	return conf.CNIVersion, nil
}
