package main

import (
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

type options struct {
	root, file, out, version, revision, arch string
	created                                  int64
	load                                     bool
}

func run(args []string) error {
	var o options
	f := flag.NewFlagSet("images", flag.ContinueOnError)
	f.StringVar(&o.root, "root", ".", "the `directory` that COPY copies from")
	f.StringVar(&o.file, "file", "deploy/images/Dockerfile", "the Dockerfile")
	f.StringVar(&o.out, "out", "bin/images", "the `directory` of the archives")
	f.StringVar(&o.version, "version", "unknown", "the tag beside latest, and a label")
	f.StringVar(&o.revision, "revision", "unknown", "a label")
	f.StringVar(&o.arch, "arch", runtime.GOARCH, "the programs' architecture")
	f.Int64Var(&o.created, "created", 0, "the time of all files, in `seconds` since 1970")
	f.BoolVar(&o.load, "load", true, "load the images into docker where docker is there")
	if err := f.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(o.file)
	if err != nil {
		return err
	}
	stages, err := parseDockerfile(string(text), map[string]string{"VERSION": o.version, "REVISION": o.revision})
	if err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil { //nolint:gosec // archives are for everybody
		return err
	}
	var archives []string
	for _, s := range stages {
		archive, err := o.make(s)
		if err != nil {
			return err
		}
		archives = append(archives, archive)
	}
	if o.load {
		return load(archives)
	}
	return nil
}

// make writes one image's archive and the list of what is in its programs.
func (o options) make(s *stage) (archive string, err error) {
	archive = filepath.Join(o.out, s.name+".tar")
	out, err := os.Create(archive) //nolint:gosec // the builder names the directory
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	repository := "vpp-cni/" + s.name
	id, err := s.build(out, o.root, platform{o.arch, time.Unix(o.created, 0).UTC()}, []string{repository + ":" + o.version, repository + ":latest"})
	if err != nil {
		return "", err
	}
	if err = o.bill(s); err != nil {
		return "", err
	}
	st, err := out.Stat()
	if err != nil {
		return "", err
	}
	fmt.Printf("%-24s %5.1f MB  %s\n", repository, float64(st.Size())/1e6, id)
	return archive, nil
}

// bill writes the modules of each program in the image, with their versions and
// checksums, as `go version -m` does: an SBOM that the programs themselves carry.
func (o options) bill(s *stage) error {
	var b strings.Builder
	for _, c := range s.copies {
		info, err := buildinfo.ReadFile(filepath.Join(o.root, c.src))
		if err != nil {
			continue // not a Go program
		}
		_, _ = fmt.Fprintf(&b, "%s: %s\n", c.dst, info.GoVersion)
		for line := range strings.Lines(info.String()) {
			if !strings.HasPrefix(line, "go\t") {
				b.WriteString("\t" + line)
			}
		}
	}
	return os.WriteFile(filepath.Join(o.out, s.name+".sbom.txt"), []byte(b.String()), 0o644) //nolint:gosec // it is for everybody
}

// load gives the archives to docker. They are made without it, so that its absence
// is said and is no error.
func load(archives []string) error {
	docker, err := exec.LookPath("docker")
	if err == nil {
		err = exec.Command(docker, "info").Run() //nolint:gosec // docker of the PATH
	}
	if err != nil {
		fmt.Println("NO DOCKER HERE: THE IMAGES ARE IN THEIR ARCHIVES ONLY:", err)
		return nil
	}
	for _, a := range archives {
		cmd := exec.Command(docker, "load", "-q", "-i", a) //nolint:gosec // docker of the PATH
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("docker load %s: %w\n%s", a, err, out)
		}
	}
	return nil
}
