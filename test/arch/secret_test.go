package arch

import (
	"go/ast"
	"slices"
	"testing"
)

// revealers are the files that may take a memif secret's text: those that check
// it, carry it from the values into the objects, and hand it to VPP. What takes
// it anywhere else could print it.
var revealers = []string{
	"agent/hostplan/plan.go", "agent/vpp/memif.go", "agent/vpp/model/secret.go", "cni/secret.go",
	"container-agent/podplan/plan.go", "schema/secret.go", "schema/validate.go", "test/traffic/endpoint.go",
}

// TestWhoRevealsSecrets looks for calls of Reveal, and for files in the list that
// have none any more.
func TestWhoRevealsSecrets(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for dir, p := range load(t) {
		for name, f := range p.files {
			file := dir + "/" + name
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Reveal" {
					seen[file] = true
				}
				return true
			})
		}
	}
	for file := range seen {
		if !slices.Contains(revealers, file) {
			t.Errorf("%s takes a secret's text", file)
		}
	}
	for _, file := range revealers {
		if !seen[file] {
			t.Errorf("%s takes no secret's text any more", file)
		}
	}
}
