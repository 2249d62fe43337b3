package arch

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// programs are what is installed on a node and in a pod.
var programs = []string{"./cni", "./agent", "./container-agent", "./agent/ctl"}

// refused are modules that no program may have in it, and why. Their advisories
// stand in SECURITY.md.
var refused = map[string]string{
	"github.com/dgrijalva/jwt-go":  "CVE-2020-26160, and nobody keeps it; cn-infra's rpc/rest and health/probe bring it",
	"github.com/golang-jwt/jwt/v4": "CVE-2025-30204 in its older versions; no program of ours reads a token",
	"github.com/coreos/etcd":       "etcd 3.3's client, which cn-infra's db brings: it loses its watch silently",
	"go.etcd.io/etcd/server/v3":    "no program is an etcd: what its advisories are about is the operator's to keep up",
	"go.etcd.io/etcd/etcdctl/v3":   "for the tests",
	"github.com/gopacket/gopacket": "for the simulator: no program takes packets apart",
	"k8s.io/cri-api":               "for the tests: no program of ours is a kubelet",
	"pgregory.net/rapid":           "for the tests",
	"golang.org/x/crypto":          "GO-2026-5932 (openpgp); the standard library has what TLS needs",
}

// oldest are the versions in which known flaws are mended, of modules that
// programs have in them.
var oldest = map[string]struct{ version, why string }{
	"github.com/gogo/protobuf":            {"v1.3.2", "CVE-2021-3121"},
	"github.com/prometheus/client_golang": {"v1.11.1", "CVE-2022-21698"},
	"github.com/sirupsen/logrus":          {"v1.9.3", "CVE-2025-65637"},
	"go.etcd.io/etcd/client/pkg/v3":       {"v3.7.1", "CVE-2026-73500"},
	"go.opentelemetry.io/otel":            {"v1.44.0", "CVE-2026-41178, CVE-2026-29181"},
	"golang.org/x/net":                    {"v0.56.0", "CVE-2026-46600, CVE-2026-39821, CVE-2026-33814, CVE-2026-27141"},
	"golang.org/x/text":                   {"v0.39.0", "CVE-2026-56852"},
	"google.golang.org/grpc":              {"v1.82.2", "CVE-2026-84445, CVE-2026-33186"},
	"google.golang.org/protobuf":          {"v1.33.0", "CVE-2024-24786"},
	"gopkg.in/yaml.v2":                    {"v2.2.8", "CVE-2019-11254, CVE-2021-4235, CVE-2022-3064; cn-infra asks for v2.2.2"},
}

// linked are the modules of one program and their versions.
func linked(t *testing.T, program string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", program)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", program, err)
	}
	modules := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok && path != module {
			modules[path] = version
		}
	}
	if modules["go.etcd.io/etcd/client/v3"] == "" {
		t.Fatalf("%s: modules %v, and every program talks to etcd", program, modules)
	}
	return modules
}

// flaws says what of modules is refused or too old.
func flaws(modules map[string]string) []string {
	var out []string
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		if why, bad := refused[path]; bad {
			out = append(out, fmt.Sprintf("%s is linked: %s", path, why))
		}
		if o, ok := oldest[path]; ok && slices.Compare(numbers(modules[path]), numbers(o.version)) < 0 {
			out = append(out, fmt.Sprintf("%s is %s, %s at least: %s", path, modules[path], o.version, o.why))
		}
	}
	return out
}

// numbers are those of a version; what stands behind them is left out.
func numbers(version string) []int {
	core, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	core, _, _ = strings.Cut(core, "+")
	var out []int
	for s := range strings.SplitSeq(core, ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}

func TestModules(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, program := range programs {
		modules := linked(t, program)
		for _, f := range flaws(modules) {
			t.Errorf("%s: %s", program, f)
		}
		for path := range modules {
			used[path] = true
		}
	}
	for path := range oldest {
		if !used[path] {
			t.Errorf("%s is in no program: its line checks nothing", path)
		}
	}
}

// TestModulesBite holds the lists against a program that breaks them.
func TestModulesBite(t *testing.T) {
	t.Parallel()
	bad := map[string]string{
		"github.com/dgrijalva/jwt-go": "v3.2.0+incompatible", "gopkg.in/yaml.v2": "v2.2.2", "google.golang.org/grpc": "v1.9.9",
		"golang.org/x/net": "v0.55.0-rc.1", "golang.org/x/text": "v0.39.0", "go.opentelemetry.io/otel": "v1.100.0",
	}
	want := []string{"github.com/dgrijalva/jwt-go is linked", "golang.org/x/net is v0.55.0-rc.1", "google.golang.org/grpc is v1.9.9", "gopkg.in/yaml.v2 is v2.2.2"}
	got := slices.Sorted(slices.Values(flaws(bad)))
	if len(got) != len(want) {
		t.Fatalf("flaws %q, want %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("flaw %q, want %q", got[i], want[i])
		}
	}
}
