package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// The forms of output.
const (
	formTable = "table"
	formWide  = "wide"
	formJSON  = "json"
	formYAML  = "yaml"
)

var forms = []string{formTable, formWide, formJSON, formYAML}

// output adds the flag -o to c.
func output(c *cobra.Command, form *string, allowed ...string) {
	c.Flags().StringVarP(form, "output", "o", allowed[0], "form of the output: "+strings.Join(allowed, ", "))
	// The error is a flag that does not exist: it is made one line above.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
}

// encode prints v as JSON or YAML.
func (a *app) encode(form string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if form == formYAML {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
	} else {
		data = append(data, '\n')
	}
	_, err = a.out.Write(data)
	return err
}

// table prints rows under a header in columns.
func (a *app) table(header []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, r := range append([][]string{header}, rows...) {
		for i := range r {
			r[i] = clean(r[i])
		}
		if _, err := fmt.Fprintln(w, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// none says on the error output that a list is empty, so that a script that
// reads the list gets the header only.
func (a *app) none(what string) {
	_, _ = fmt.Fprintln(a.errOut, "no "+what+" found")
}

// fields prints pairs of name and value; a pair without value is left out.
func fields(w io.Writer, indent string, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			_, _ = fmt.Fprintf(w, "%s%-14s %s\n", indent, pairs[i]+":", clean(pairs[i+1]))
		}
	}
}

// clean makes one harmless line of s. A pod writes its own status: what it says
// must not move the reader's cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func join[T fmt.Stringer](items []T, sep string) string {
	s := make([]string, len(items))
	for i, v := range items {
		s[i] = v.String()
	}
	return strings.Join(s, sep)
}

// age is the time since t in one or two units, such as 5s, 12m or 3d4h.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := max(now.Sub(t), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// number is n, or empty for 0.
func number[N ~int | ~uint16 | ~uint32 | ~int64](n N) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
