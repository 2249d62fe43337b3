package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/vpp-cni/vpp-cni"
)

// pkg is one package of this module, without its tests.
type pkg struct {
	// dir is relative to the module's root, with slashes.
	dir     string
	files   map[string]*ast.File // by base name
	lines   map[string]int
	imports map[string]bool
}

func (p *pkg) name() string {
	for _, f := range p.files {
		return f.Name.Name
	}
	return ""
}

// load parses the module.
func load(t *testing.T) map[string]*pkg {
	t.Helper()
	pkgs := map[string]*pkg{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(rel)
		if pkgs[dir] == nil {
			pkgs[dir] = &pkg{dir: dir, files: map[string]*ast.File{}, lines: map[string]int{}, imports: map[string]bool{}}
		}
		pkgs[dir].files[filepath.Base(path)] = f
		pkgs[dir].lines[filepath.Base(path)] = set.Position(f.FileEnd).Line
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			pkgs[dir].imports[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pkgs["schema"] == nil || pkgs["agent"] == nil {
		t.Fatalf("packages %v: the module's root is not at %s", slices.Sorted(maps.Keys(pkgs)), root)
	}
	return pkgs
}

// under says whether path is base or below it.
func under(path string, bases ...string) bool {
	return slices.ContainsFunc(bases, func(base string) bool {
		return path == base || strings.HasPrefix(path, base+"/")
	})
}

// internal is an import's directory in this module.
func internal(path string) (string, bool) {
	if dir, ok := strings.CutPrefix(path, module+"/"); ok {
		return dir, true
	}
	return "", false
}

func standard(path string) bool { return !strings.Contains(strings.Split(path, "/")[0], ".") }

// rule forbids some packages some imports.
type rule struct {
	why string
	// who says which packages the rule is for.
	who func(dir string) bool
	// deny says which imports they must not have; dir is empty outside this
	// module.
	deny func(path, dir string) bool
	// deep: nor may what they import, within this module.
	deep bool
}

func in(dirs ...string) func(string) bool {
	return func(dir string) bool { return under(dir, dirs...) }
}

func only(dirs ...string) func(string) bool {
	return func(dir string) bool { return slices.Contains(dirs, dir) }
}

func except(dirs ...string) func(string) bool {
	return func(dir string) bool { return !under(dir, dirs...) }
}

var rules = []rule{
	{
		why: "the contract is pure data that everybody can read",
		who: only("schema"), deny: func(path, _ string) bool { return !standard(path) },
	},
	{
		why: "VPP's objects are pure data, and nobody's but VPP's",
		who: only("agent/vpp/model"), deny: func(path, _ string) bool { return !standard(path) },
	},
	{
		why: "only schema/store talks to etcd",
		who: except("schema/store", "agent/gateway", "test", "deploy/demo"), deny: func(path, _ string) bool { return under(path, "go.etcd.io/etcd") },
	},
	{
		why: "the gateway answers in etcd's words, which are etcd's api; it talks to etcd through schema/store, and no server comes into the agent",
		who: only("agent/gateway"), deny: func(path, _ string) bool {
			return under(path, "go.etcd.io/etcd") && !under(path, "go.etcd.io/etcd/api")
		},
	},
	{
		why:  "only agent/vpp talks to VPP",
		who:  func(dir string) bool { return dir != "agent/vpp" && !under(dir, "test", "deploy/demo") },
		deny: func(path, _ string) bool { return under(path, "go.fd.io/govpp") },
	},
	{
		why: "a plugin starts in milliseconds, for every pod; an agent need not",
		who: in("cni"), deep: true,
		deny: func(path, dir string) bool {
			return under(dir, "agent", "container-agent") ||
				under(path, "go.fd.io/govpp", "github.com/ligato/cn-infra", "k8s.io", "github.com/prometheus", "github.com/spf13/cobra")
		},
	},
	{
		why: "it runs before all that it does not import is initialised",
		who: only("cni/early"), deny: func(path, _ string) bool { return path != "os" },
	},
	{
		why:  "the host agent does not know the pod's",
		who:  in("agent"),
		deep: true,
		deny: func(_, dir string) bool { return under(dir, "container-agent") },
	},
	{
		why: "the pod's agent shares the engine, the run loop and the driver, and nothing else of the host's",
		who: in("container-agent"), deep: true,
		deny: func(path, dir string) bool {
			return under(dir, "agent") && !slices.Contains([]string{"agent/daemon", "agent/reconcile", "agent/vpp", "agent/vpp/model"}, dir) ||
				under(path, "github.com/ligato/cn-infra")
		},
	},
	{
		why: "plans are pure: equal inputs give equal plans",
		who: only("agent/hostplan", "container-agent/podplan", "agent/reconcile"),
		deny: func(path, dir string) bool {
			return slices.Contains([]string{"os", "net", "net/http", "io/fs", "os/exec", "syscall"}, path) || under(dir, "schema/store", "agent/daemon") || dir == "agent/vpp"
		},
	},
	{
		why: "the product does not know its tests",
		who: except("test", "deploy/demo"), deny: func(_, dir string) bool { return under(dir, "test") },
	},
	{
		why:  "the contract depends on nobody who uses it",
		who:  in("schema"),
		deny: func(_, dir string) bool { return dir != "" && !under(dir, "schema") },
	},
	{
		why: "cn-infra's rest and probe bring a JWT library with CVE-2020-26160, its etcd plugin loses its watch silently",
		who: func(string) bool { return true },
		deny: func(path, _ string) bool {
			return under(path, "github.com/ligato/cn-infra/rpc", "github.com/ligato/cn-infra/health/probe", "github.com/ligato/cn-infra/db")
		},
	},
}

// breaches lists where pkgs break the rule, as in "cni imports agent/vpp".
func (r rule) breaches(pkgs map[string]*pkg) []string {
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(pkgs)) {
		if r.who(dir) {
			out = append(out, r.search(pkgs, dir, dir, map[string]bool{})...)
		}
	}
	return out
}

func (r rule) search(pkgs map[string]*pkg, from, dir string, seen map[string]bool) []string {
	if seen[dir] || pkgs[dir] == nil {
		return nil
	}
	seen[dir] = true
	var out []string
	for _, path := range slices.Sorted(maps.Keys(pkgs[dir].imports)) {
		sub, ours := internal(path)
		if r.deny(path, sub) {
			out = append(out, from+" imports "+path+" (in "+dir+")")
		}
		if ours && r.deep {
			out = append(out, r.search(pkgs, from, sub, seen)...)
		}
	}
	return out
}

func TestImports(t *testing.T) {
	t.Parallel()
	pkgs := load(t)
	for _, r := range rules {
		t.Run(r.why, func(t *testing.T) {
			t.Parallel()
			for _, b := range r.breaches(pkgs) {
				t.Error(b)
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(pkgs)), r.who) {
				t.Error("the rule is for no package: it checks nothing")
			}
		})
	}
}

// TestRulesBite holds the rules against a module that breaks each of them.
func TestRulesBite(t *testing.T) {
	t.Parallel()
	bad := map[string]*pkg{}
	for dir, imports := range map[string][]string{
		"schema":                  {"github.com/sirupsen/logrus", module + "/cni"},
		"agent/vpp/model":         {"github.com/sirupsen/logrus"},
		"cni":                     {module + "/schema/store", module + "/test/lab", "go.etcd.io/etcd/client/v3"},
		"cni/early":               {"encoding/json"},
		"schema/store":            {module + "/agent/vpp"},
		"agent/vpp":               {"go.fd.io/govpp/api", module + "/container-agent/podplan"},
		"agent":                   {"go.fd.io/govpp/api", "github.com/ligato/cn-infra/rpc/rest"},
		"agent/gateway":           {"go.etcd.io/etcd/client/v3"},
		"agent/hostplan":          {"os"},
		"container-agent/podplan": {module + "/agent/hostplan"},
	} {
		bad[dir] = &pkg{dir: dir, imports: map[string]bool{}}
		for _, i := range imports {
			bad[dir].imports[i] = true
		}
	}
	for _, r := range rules {
		if len(r.breaches(bad)) == 0 {
			t.Errorf("%q finds nothing in a module that breaks it", r.why)
		}
	}
}
