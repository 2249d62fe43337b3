package plugins

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vpp-cni/vpp-cni/agent/gateway"
)

const (
	monitoring = "../../deploy/monitoring.md"
	alerts     = "../../deploy/alerts.yaml"
)

var (
	described  = regexp.MustCompile(`fqName: "([a-z0-9_]+)".*variableLabels: \{([^}]*)\}`)
	documented = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)`((?: `[a-z0-9_]+`)*) \\|")
	quoted     = regexp.MustCompile(`"[^"]*"`)
	named      = regexp.MustCompile(`\b(?:vppcni|go|process)_[a-z0-9_]+`)
)

// exported are the metrics that the host's agent can tell of, each with its
// labels, as in "vppcni_writes_total kind op". The pod's agent has the same
// without the gateway's.
func exported() []string {
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		allMetrics(gateway.New(gateway.Config{})).Describe(ch)
	}()
	var out []string
	for d := range ch {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			panic("a description of another form: " + d.String())
		}
		out = append(out, strings.Join(append([]string{m[1]}, strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' })...), " "))
	}
	slices.Sort(out)
	return out
}

// TestEveryMetricIsDocumented: the tables of the operator's document have all
// metrics, with their labels, and no others.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(monitoring)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range documented.FindAllSubmatch(text, -1) {
		have = append(have, string(m[1])+strings.ReplaceAll(string(m[2]), "`", ""))
	}
	slices.Sort(have)
	if diff := cmp.Diff(exported(), have); diff != "" {
		t.Errorf("metrics (-agent +%s):\n%s", monitoring, diff)
	}
}

// TestAlertsUseMetricsThatExist: what the rules ask for is there.
func TestAlertsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(alerts)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, line := range exported() {
		name, _, _ := strings.Cut(line, " ")
		names[name] = true
	}
	rules := 0
	for line := range strings.Lines(string(text)) {
		key, expr, _ := strings.Cut(strings.TrimSpace(line), ":")
		if key != "expr" {
			continue
		}
		rules++
		used := named.FindAllString(quoted.ReplaceAllString(expr, ""), -1)
		if len(used) == 0 {
			t.Errorf("%s: no metric of ours", expr)
		}
		for _, name := range used {
			if !names[name] && !names[strings.TrimSuffix(strings.TrimSuffix(name, "_count"), "_sum")] && !names[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s: no metric is called %s", expr, name)
			}
		}
	}
	if rules < 3 {
		t.Errorf("%d rules in %s", rules, alerts)
	}
}
