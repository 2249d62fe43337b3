package arch

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestPackageComments wants a sentence on what each package is for, and one on
// what it is not for or how it does it.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	pkgs := load(t)
	for _, dir := range slices.Sorted(maps.Keys(pkgs)) {
		p := pkgs[dir]
		var docs []string
		for _, f := range p.files {
			if f.Doc != nil {
				docs = append(docs, strings.Join(strings.Fields(f.Doc.Text()), " "))
			}
		}
		switch {
		case len(docs) == 0:
			t.Errorf("%s has no package comment", dir)
			continue
		case len(docs) > 1:
			t.Errorf("%s has %d package comments, one is wanted", dir, len(docs))
		}
		if p.name() != "main" && !strings.HasPrefix(docs[0], "Package "+p.name()+" ") {
			t.Errorf("%s: the comment does not begin with %q", dir, "Package "+p.name())
		}
		if strings.Count(docs[0]+" ", ". ")+strings.Count(docs[0], ": ") < 2 {
			t.Errorf("%s: the comment says in one sentence what the package is for; it lacks the next one, what it is not for", dir)
		}
	}
}

// TestOnlyMainEndsAProgram looks for os.Exit and its relatives outside of
// main.go, and for init functions, which do work before main has a say. That is
// what cni/early is for, and why it does nothing but VERSION.
func TestOnlyMainEndsAProgram(t *testing.T) {
	t.Parallel()
	pkgs := load(t)
	for _, dir := range slices.Sorted(maps.Keys(pkgs)) {
		if dir == "cni/early" {
			continue
		}
		for name, f := range pkgs[dir].files {
			file := dir + "/" + name
			ast.Inspect(f, func(n ast.Node) bool {
				switch v := n.(type) {
				case *ast.FuncDecl:
					if v.Name.Name == "init" && v.Recv == nil {
						t.Errorf("%s: an init function", file)
					}
				case *ast.CallExpr:
					if ends(v) && name != "main.go" {
						t.Errorf("%s: ends the program; only main.go may", file)
					}
				}
				return true
			})
		}
	}
}

// ends says whether a call ends the program.
func ends(c *ast.CallExpr) bool {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	return x.Name == "os" && sel.Sel.Name == "Exit" ||
		(x.Name == "log" || x.Name == "logrus") && strings.HasPrefix(sel.Sel.Name, "Fatal")
}

// TestSizes holds files to a length at which a reader still finds his way.
func TestSizes(t *testing.T) {
	t.Parallel()
	const most = 450
	for dir, p := range load(t) {
		for name, lines := range p.lines {
			if lines > most {
				t.Errorf("%s/%s has %d lines, %d are the most", dir, name, lines, most)
			}
		}
	}
}
