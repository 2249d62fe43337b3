package install

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vpp-cni/vpp-cni/schema/config"
)

// mark is the first line of a config.yaml that install has written.
const mark = "# Written by vpp-cni install: edits are lost, and vpp-cni uninstall removes the file.\n"

// maxSource bounds what is read into memory.
const maxSource = 1 << 20

// sources are the files to install, read and checked before anything is
// touched; nil where none is asked for.
type sources struct {
	config   []byte
	conflist []byte
	tls      *set
}

func (o options) read(check CheckPlugin) (sources, error) {
	var s sources
	var err error
	var node config.File
	if o.config != "" {
		if s.config, node, err = readConfig(o.config, o.node); err != nil {
			return s, err
		}
	}
	if o.tls != "" {
		if s.tls, err = readSet(o.tls); err != nil {
			return s, err
		}
		if err = s.tls.fits(filepath.Join(o.etcDir, setLink), node.Etcd.Cert, node.Etcd.Key); err != nil {
			return s, err
		}
	}
	if o.conflist != "" {
		if s.conflist, err = readConflist(o.conflist, check); err != nil {
			return s, err
		}
	}
	for _, p := range o.plugins {
		if st, err := os.Stat(p); err != nil || !st.Mode().IsRegular() {
			return s, errors.Join(fmt.Errorf("--plugin %s is no file", p), err)
		}
	}
	return s, nil
}

// readConfig reads a node's configuration and puts the node's name into it.
func readConfig(path, node string) ([]byte, config.File, error) {
	data, err := readSmall(path)
	if err != nil {
		return nil, config.File{}, fmt.Errorf("--config: %w", err)
	}
	want, err := config.Parse(path, data)
	if err != nil {
		return nil, want, err
	}
	data = []byte(mark + strings.TrimPrefix(string(data), mark))
	if node == "" || want.Node == node {
		return data, want, nil
	}
	if want.Node != "" {
		return nil, want, fmt.Errorf("configuration file %s: node is %q, and --node says %q", path, want.Node, node)
	}
	data = append(data, "\nnode: "+strconv.Quote(node)+"\n"...)
	want.Node = node
	if have, err := config.Parse(path, data); err != nil || !reflect.DeepEqual(have, want) {
		return nil, want, fmt.Errorf("configuration file %s: a line with the node's name cannot be added to a file of this form: it must be one YAML document, a mapping in block style without the key node", path)
	}
	return data, want, nil
}

func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if st.Size() > maxSource {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are allowed", path, st.Size(), maxSource)
	}
	return os.ReadFile(path) //nolint:gosec // the operator names the file
}

// CheckPlugin checks the configuration of one of our plugins in a network
// configuration, as the plugin would on ADD.
type CheckPlugin func(conf []byte) error

// network is what a network configuration file of a runtime has: a list, or one
// plugin.
type network struct {
	Name       string            `json:"name"`
	CNIVersion string            `json:"cniVersion"`
	Type       string            `json:"type"`
	Plugins    []json.RawMessage `json:"plugins"`
}

// pluginNames are the types under which a runtime starts our plugin.
var pluginNames = []string{"vpp-cni", "userspace"}

// ours are the configurations of our plugin in a network configuration.
func (n network) ours(whole []byte) ([]map[string]any, error) {
	all := n.Plugins
	if n.Type != "" {
		all = []json.RawMessage{whole}
	}
	var out []map[string]any
	for _, raw := range all {
		var plugin map[string]any
		if err := json.Unmarshal(raw, &plugin); err != nil {
			return nil, err
		}
		if name, ok := plugin["type"].(string); ok && slices.Contains(pluginNames, name) {
			out = append(out, plugin)
		}
	}
	return out, nil
}

// usesUs says whether data is a network configuration with our plugin in it.
func usesUs(data []byte) bool {
	var n network
	if json.Unmarshal(data, &n) != nil {
		return false
	}
	plugins, err := n.ours(data)
	return err == nil && len(plugins) > 0
}

// configuration says whether runtimes read a file of this name.
func configuration(name string) bool {
	return slices.Contains([]string{".conflist", ".conf", ".json"}, filepath.Ext(name)) && !strings.HasPrefix(name, ".")
}

func readConflist(path string, check CheckPlugin) ([]byte, error) {
	if !configuration(filepath.Base(path)) {
		return nil, fmt.Errorf("--conflist %s: no runtime reads a file of this name, it must end in .conflist, .conf or .json", path)
	}
	data, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("--conflist: %w", err)
	}
	var n network
	if err = json.Unmarshal(data, &n); err != nil {
		return nil, fmt.Errorf("--conflist %s: %w", path, err)
	}
	plugins, err := n.ours(data)
	if err != nil {
		return nil, fmt.Errorf("--conflist %s: %w", path, err)
	}
	if len(plugins) == 0 {
		return nil, fmt.Errorf("--conflist %s: no plugin in it has the type %s", path, strings.Join(pluginNames, " or "))
	}
	for _, p := range plugins {
		p["name"], p["cniVersion"] = n.Name, n.CNIVersion // as a runtime gives them to each plugin of a list
		conf, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("--conflist %s: %w", path, err)
		}
		if err := check(conf); err != nil {
			return nil, fmt.Errorf("--conflist %s: %w", path, err)
		}
	}
	return data, nil
}

// set is a directory of files that belong together.
type set struct {
	names []string
	data  map[string][]byte
}

// readSet reads the files of dir. A mounted Secret has links to them and hides
// the rest behind names that begin with a dot.
func readSet(dir string) (*set, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("--tls: %w", err)
	}
	s := &set{data: map[string][]byte{}}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		st, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("--tls: %w", err)
		}
		if err != nil || strings.HasPrefix(e.Name(), ".") || st.IsDir() {
			continue
		}
		if s.data[e.Name()], err = readSmall(path); err != nil {
			return nil, fmt.Errorf("--tls: %w", err)
		}
		s.names = append(s.names, e.Name()) // sorted, as ReadDir is
	}
	if len(s.names) == 0 {
		return nil, fmt.Errorf("--tls: there is no file in %s", dir)
	}
	return s, nil
}

// fits says whether certificate and key belong together, as the configuration names
// them where the set will be. Who copies files into a directory writes one after the
// other: what is half written is not installed.
func (s *set) fits(at, cert, key string) error {
	if cert == "" || filepath.Dir(cert) != at || filepath.Dir(key) != at {
		return nil
	}
	cert, key = filepath.Base(cert), filepath.Base(key)
	if _, err := tls.X509KeyPair(s.data[cert], s.data[key]); err != nil {
		return fmt.Errorf("--tls: certificate %s and key %s: %w", cert, key, err)
	}
	return nil
}

// name tells sets apart.
func (s *set) name() string {
	h := sha256.New()
	for _, n := range s.names {
		_, _ = fmt.Fprintf(h, "%d %s %d ", len(n), n, len(s.data[n]))
		_, _ = h.Write(s.data[n])
	}
	return setPrefix + hex.EncodeToString(h.Sum(nil))[:setDigits]
}
