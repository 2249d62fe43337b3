package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

type options struct {
	apiSocket, runtimeDir, faultSocket string
	version, debug                     bool
}

var errNoSocket = errors.New("no API socket: give --api-socket, or -c with a socksvr section")

// parseOptions reads the flags. What they leave open is taken of VPP's start-up
// file, if one is given.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var startup string
	f := flag.NewFlagSet("vppsim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.apiSocket, "api-socket", "", "`path` of the API socket to serve")
	f.StringVar(&o.runtimeDir, "runtime-dir", "", "`directory` of relative memif sockets (default: that of the API socket)")
	f.StringVar(&o.faultSocket, "fault-socket", "", "`path` of a socket that takes fault commands, a line each")
	f.StringVar(&startup, "c", "", "VPP start-up `file`: socksvr socket-name and unix runtime-dir are used")
	f.BoolVar(&o.version, "version", false, "say the version and end")
	f.BoolVar(&o.debug, "debug", false, "log every refused request")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.version {
		return o, nil
	}
	if startup != "" {
		if err := o.readStartup(startup); err != nil {
			return o, err
		}
	}
	if o.apiSocket == "" {
		return o, errNoSocket
	}
	return o, nil
}

// readStartup takes socket-name and runtime-dir of a VPP start-up file. Like VPP
// it understands "socksvr { default }" as api.sock in the runtime-dir. All other
// sections are for a real VPP: a CLI socket that is named there is not served.
func (o *options) readStartup(path string) error {
	text, err := os.ReadFile(path) // the file that the user names
	if err != nil {
		return fmt.Errorf("start-up file: %w", err)
	}
	sections := parseStartup(string(text))
	if o.runtimeDir == "" {
		o.runtimeDir = sections["unix"]["runtime-dir"]
	}
	if o.apiSocket != "" {
		return nil
	}
	socksvr := sections["socksvr"]
	o.apiSocket = socksvr["socket-name"]
	if _, byDefault := socksvr["default"]; byDefault && o.apiSocket == "" && o.runtimeDir != "" {
		o.apiSocket = filepath.Join(o.runtimeDir, "api.sock")
	}
	return nil
}

// parseStartup gives the words of each top-level section, each with the word
// after it. A section may stand more than once; nested braces are skipped.
func parseStartup(text string) map[string]map[string]string {
	var words []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.NewReplacer("{", " { ", "}", " } ").Replace(line)
		words = append(words, strings.Fields(line)...)
	}
	sections := make(map[string]map[string]string)
	depth, name, last := 0, "", ""
	for _, w := range words {
		switch {
		case w == "{":
			depth++
			if depth == 1 {
				name = last
				if sections[name] == nil {
					sections[name] = make(map[string]string)
				}
			}
			last = ""
		case w == "}":
			depth = max(depth-1, 0)
			last = ""
		case depth == 1:
			sections[name][w] = ""
			if last != "" {
				sections[name][last] = w
			}
			last = w
		default:
			last = w
		}
	}
	return sections
}
