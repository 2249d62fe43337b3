package install

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	verbInstall   = "install"
	verbUninstall = "uninstall"

	pluginName    = "vpp-cni"
	userspaceName = "userspace"
	// pluginPath is the plugin's main package in Go's build information.
	pluginPath = "github.com/vpp-cni/vpp-cni/cni"
	// self is this program, also where its file has been replaced meanwhile.
	self = "/proc/self/exe"

	programMode  = 0o755
	configMode   = 0o644
	conflistMode = 0o600 // it may hold a memif secret
)

// Verb says whether s is one of this package's.
func Verb(s string) bool { return s == verbInstall || s == verbUninstall }

// Run serves the verb with its arguments and returns the exit code: 1 for what
// went wrong, 2 for bad usage.
func Run(verb string, args []string, check CheckPlugin, stdout, stderr io.Writer) int {
	o, err := parse(verb, args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	w := &work{options: o, check: check, out: stdout}
	switch {
	case verb == verbUninstall:
		err = w.uninstall()
	case o.watch != 0:
		err = w.keep(stderr)
	default:
		err = w.install()
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "vpp-cni %s: %v\n", verb, err)
		return 1
	}
	return 0
}

// work is one run.
type work struct {
	options
	check CheckPlugin
	out   io.Writer
	// brief says that what is as it should be goes without saying.
	brief bool
}

// say tells what was done with path, or would be.
func (w *work) say(did, path, why string) {
	if w.brief && (did == "unchanged" || did == "left") {
		return
	}
	if would, ok := map[string]string{"installed": "would install", "removed": "would remove", "made": "would make"}[did]; ok && w.dryRun {
		did = would
	}
	if why != "" {
		why = ": " + why
	}
	_, _ = fmt.Fprintf(w.out, "%s %s%s\n", did, path, why)
}

// install does all of it, the network configuration last.
func (w *work) install() error {
	s, err := w.read(w.check)
	if err != nil {
		return err
	}
	if err := w.obstacles(s); err != nil {
		return err
	}
	if err := w.inDir(w.binDir, w.programs); err != nil {
		return err
	}
	if s.tls != nil || s.config != nil {
		err := w.inDir(w.etcDir, func() error {
			if s.tls != nil {
				if err := w.putSet(s.tls); err != nil {
					return err
				}
			}
			if s.config == nil {
				return nil
			}
			return w.put("config", filepath.Join(w.etcDir, configName), configMode, bytesOf(s.config))
		})
		if err != nil {
			return err
		}
	}
	if s.conflist == nil {
		return nil
	}
	return w.inDir(w.confDir, func() error {
		return w.put("conflist", filepath.Join(w.confDir, filepath.Base(w.conflist)), conflistMode, bytesOf(s.conflist))
	})
}

// obstacles are files of somebody else in the places of ours.
func (w *work) obstacles(s sources) error {
	var errs []error
	check := func(path string, wanted bool, ours func(string) (bool, error)) {
		if !wanted {
			return
		}
		if ok, err := ours(path); err != nil {
			errs = append(errs, err)
		} else if !ok {
			errs = append(errs, fmt.Errorf("install %s: what is there was not installed by vpp-cni: move it away", path))
		}
	}
	check(filepath.Join(w.binDir, pluginName), true, ourProgram)
	check(filepath.Join(w.etcDir, configName), s.config != nil, ourConfig)
	check(filepath.Join(w.confDir, filepath.Base(w.conflist)), s.conflist != nil, ourConflist)
	return errors.Join(errs...)
}

// programs puts plugins into the runtime's directory.
func (w *work) programs() error {
	if err := w.put(pluginName, filepath.Join(w.binDir, pluginName), programMode, fileOf(self)); err != nil {
		return err
	}
	if err := w.userspace(); err != nil {
		return err
	}
	for _, p := range w.plugins {
		path := filepath.Join(w.binDir, filepath.Base(p))
		if _, err := os.Lstat(path); err == nil {
			w.say("left", path, "the node has a plugin of this name")
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := w.put("plugin", path, programMode, fileOf(p)); err != nil {
			return err
		}
	}
	return nil
}

// userspace gives the plugin the Userspace CNI's name.
func (w *work) userspace() error {
	path := filepath.Join(w.binDir, userspaceName)
	ours, err := ourUserspace(path)
	if err != nil {
		return err
	}
	if !ours && !w.takeUserspace {
		w.say("left", path, "another program has this name, --take-userspace replaces it")
		return nil
	}
	return w.link(userspaceName, path, pluginName)
}

// ourProgram says whether nothing or our plugin is at path.
func ourProgram(path string) (bool, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !st.Mode().IsRegular() {
		return false, err
	}
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == pluginPath, nil
}

// ourUserspace says whether nothing, our link, or a copy of our plugin is at path.
func ourUserspace(path string) (bool, error) {
	if target, err := os.Readlink(path); err == nil {
		return target == pluginName, nil
	}
	return ourProgram(path)
}

func ourConfig(path string) (bool, error) {
	return oursIf(path, func(data []byte) bool { return strings.HasPrefix(string(data), mark) })
}

func ourConflist(path string) (bool, error) { return oursIf(path, usesUs) }

// oursIf says whether nothing is at path, or something that is recognised.
func oursIf(path string, recognised func([]byte) bool) (bool, error) {
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return recognised(data), nil
}

// keep installs, and goes on doing so until SIGTERM. Its first round must
// succeed; later ones are tried again.
func (w *work) keep(stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	if err := w.install(); err != nil {
		return err
	}
	w.brief = true
	tick := time.NewTicker(w.watch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-tick.C:
		}
		if err := w.install(); err != nil {
			_, _ = fmt.Fprintf(stderr, "vpp-cni install: %v: tried again in %s\n", err, w.watch)
		}
	}
}
