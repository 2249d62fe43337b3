package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testNamed   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	testDefined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

// TestSecurityNamesItsTests: each test that SECURITY.md calls as a witness is
// there, and each fuzz target stands in its table of hostile input.
func TestSecurityNamesItsTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testDefined.FindAllSubmatch(source, -1) {
			defined[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := namedIn(string(text))
	for name := range named {
		if !defined[name] {
			t.Errorf("SECURITY.md names %s, which is not there", name)
		}
	}
	if len(named) < 40 {
		t.Errorf("SECURITY.md names %d tests", len(named))
	}
	_, table, _ := strings.Cut(string(text), "\n## Hostile input\n")
	table, _, _ = strings.Cut(table, "\n## ")
	fuzzed := namedIn(table)
	for name := range defined {
		if strings.HasPrefix(name, "Fuzz") && !fuzzed[name] {
			t.Errorf("SECURITY.md does not name %s under \"Hostile input\"", name)
		}
	}
}

// namedIn are the tests that a text names.
func namedIn(text string) map[string]bool {
	named := map[string]bool{}
	for _, m := range testNamed.FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
	}
	return named
}
