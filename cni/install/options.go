package install

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
)

// The places where runtimes and our programs look.
const (
	defaultBinDir   = "/opt/cni/bin"
	defaultConfDir  = "/etc/cni/net.d"
	defaultConflist = "10-vpp-cni.conflist"
	minWatch        = time.Second
)

// options are the command line's.
type options struct {
	binDir, confDir, etcDir string
	config, node, tls       string
	conflist                string
	plugins                 list
	takeUserspace, dryRun   bool
	watch                   time.Duration
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// errUsage is a command line that has been answered with its usage.
var errUsage = errors.New("bad usage")

func parse(verb string, args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("vpp-cni "+verb, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binDir, "bin-dir", defaultBinDir, "`directory` of the runtime's plugins")
	f.StringVar(&o.confDir, "conf-dir", defaultConfDir, "`directory` of the runtime's network configurations")
	f.StringVar(&o.etcDir, "etc-dir", filepath.Dir(config.DefaultPath), "`directory` of config.yaml and certificates")
	f.BoolVar(&o.dryRun, "dry-run", false, "only say what would be done")
	if verb == verbInstall {
		f.StringVar(&o.config, "config", "", "`file` that becomes config.yaml, checked first")
		f.StringVar(&o.node, "node", "", "the node's `name`, put into config.yaml")
		f.StringVar(&o.tls, "tls", "", "`directory` whose files are copied to <etc-dir>/tls as one set, such as a mounted Secret")
		f.StringVar(&o.conflist, "conflist", "", "network configuration `file`; it keeps its name")
		f.Var(&o.plugins, "plugin", "another plugin's `file`, copied where no plugin of its name is there; may be given several times")
		f.BoolVar(&o.takeUserspace, "take-userspace", false, "replace another program called userspace")
		f.DurationVar(&o.watch, "watch", 0, "stay, and do it again in this `interval` and after SIGHUP")
	} else {
		f.StringVar(&o.conflist, "conflist", defaultConflist, "`name` of the network configuration")
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	if err := o.check(f.Args()); err != nil {
		_, _ = fmt.Fprintf(stderr, "vpp-cni %s: %v\n", verb, err)
		return o, errUsage
	}
	return o, nil
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unknown argument %q", rest[0])
	}
	for _, d := range []struct{ flag, dir string }{{"bin-dir", o.binDir}, {"conf-dir", o.confDir}, {"etc-dir", o.etcDir}} {
		if !filepath.IsAbs(d.dir) {
			return fmt.Errorf("--%s is %q, an absolute path is needed", d.flag, d.dir)
		}
	}
	if o.watch != 0 && o.watch < minWatch {
		return fmt.Errorf("--watch is %s, at least %s is needed", o.watch, minWatch)
	}
	if o.watch != 0 && o.dryRun {
		return errors.New("--watch and --dry-run exclude each other")
	}
	if o.node == "" {
		return nil
	}
	if o.config == "" {
		return errors.New("--node is put into the file that --config names: give both")
	}
	return schema.Node(o.node).Validate()
}
