// Package early answers VERSION before the rest of the program is initialised.
//
// Runtimes ask for the version more often than for anything else, and the
// answer needs nothing of what ADD needs. Yet before main begins, Go
// initialises every package that main imports: etcd's client brings gRPC and
// its protobuf descriptors, more than half of the CPU of a VERSION. Go's specification
// ("Program initialization") fixes the order: of the packages whose imports are
// all initialised, the first by import path. This one imports os alone, and
// what it stands before, by its path, is everything heavy; so its initialiser
// runs when the runtime, os and what os needs are there, and ends the process.
//
// It serves VERSION only: bad usage, all other verbs, and a standard output that
// takes no answer are for main.
package early

import "os"

// Versions are the versions of the CNI specification that the plugin serves, the
// newest last.
func Versions() []string { return []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

func init() {
	if len(os.Args) != 1 || os.Getenv("CNI_COMMAND") != "VERSION" {
		return
	}
	if _, err := os.Stdout.Write(answer()); err == nil {
		os.Exit(0)
	}
}

// answer is the version answer (CNI specification, section "VERSION"). It is
// put together by hand: encoding/json would be one more package to initialise.
func answer() []byte {
	versions := Versions()
	out := append([]byte(`{"cniVersion":"`), versions[len(versions)-1]...)
	out = append(out, `","supportedVersions":[`...)
	for i, v := range versions {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), v...), '"')
	}
	return append(out, "]}\n"...)
}
