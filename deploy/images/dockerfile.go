package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
)

// stage is one target of the Dockerfile.
type stage struct {
	name       string
	labels     map[string]string
	copies     []copied
	user       string
	entrypoint []string

	args map[string]string // in scope
}

// copied is one COPY.
type copied struct {
	src, dst string
	uid, gid int
}

// parseDockerfile reads the stages; args are the values given for ARGs.
func parseDockerfile(text string, args map[string]string) ([]*stage, error) {
	global := map[string]string{}
	var stages []*stage
	for line := range instructions(text) {
		word, rest, _ := strings.Cut(line.text, " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch {
		case word == "FROM":
			var s *stage
			if s, err = from(rest); err == nil {
				stages = append(stages, s)
			}
		case len(stages) > 0:
			err = stages[len(stages)-1].add(word, rest, global)
		case word == "ARG":
			name, value, _ := strings.Cut(rest, "=")
			if given, ok := args[name]; ok {
				value = given
			}
			global[name] = value
		default:
			err = fmt.Errorf("%s before the first FROM", word)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line.number, err)
		}
	}
	if len(stages) == 0 {
		return nil, errors.New("no FROM")
	}
	return stages, nil
}

type instruction struct {
	number int
	text   string
}

// instructions are the lines without comments, put together where a backslash
// goes on.
func instructions(text string) func(func(instruction) bool) {
	return func(yield func(instruction) bool) {
		var whole strings.Builder
		start := 0
		for i, line := range strings.Split(text, "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if whole.Len() == 0 {
				start = i + 1
			}
			more := strings.HasSuffix(line, "\\")
			whole.WriteString(strings.TrimSuffix(line, "\\"))
			if more {
				continue
			}
			if !yield(instruction{start, whole.String()}) {
				return
			}
			whole.Reset()
		}
		if whole.Len() > 0 {
			yield(instruction{start, whole.String()})
		}
	}
}

func from(rest string) (*stage, error) {
	f := strings.Fields(rest)
	if len(f) != 3 || f[0] != "scratch" || !strings.EqualFold(f[1], "AS") {
		return nil, fmt.Errorf("FROM %s: only \"FROM scratch AS name\" is understood", rest)
	}
	return &stage{name: f[2], labels: map[string]string{}, args: map[string]string{}}, nil
}

// add takes one instruction of the stage.
func (s *stage) add(word, rest string, global map[string]string) error {
	switch word {
	case "ARG":
		value, ok := global[rest]
		if !ok {
			return fmt.Errorf("ARG %s: it is not declared before the first FROM", rest)
		}
		s.args[rest] = value
		return nil
	case "LABEL":
		labels, err := s.pairs(rest)
		maps.Copy(s.labels, labels)
		return err
	case "COPY":
		return s.copy(rest)
	case "USER":
		s.user = rest
		return nil
	case "ENTRYPOINT":
		if err := json.Unmarshal([]byte(rest), &s.entrypoint); err != nil {
			return fmt.Errorf("ENTRYPOINT %s: only a list of strings is understood: %w", rest, err)
		}
		return nil
	default:
		return fmt.Errorf("%s is not understood", word)
	}
}

// pairs reads key="value" words.
func (s *stage) pairs(rest string) (map[string]string, error) {
	out := map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("LABEL %s: a value is missing", rest)
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return nil, fmt.Errorf("LABEL %s: its value is not in double quotes", key)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("LABEL %s: %w", key, err)
		}
		out[key], rest = os.Expand(value, func(name string) string { return s.args[name] }), after[len(quoted):]
	}
	return out, nil
}

func (s *stage) copy(rest string) error {
	var c copied
	f := strings.Fields(rest)
	if owner, ok := strings.CutPrefix(f[0], "--chown="); ok {
		if _, err := fmt.Sscanf(owner, "%d:%d", &c.uid, &c.gid); err != nil {
			return fmt.Errorf("COPY %s: only numbers are understood as owner: %w", rest, err)
		}
		f = f[1:]
	}
	if len(f) != 2 || !strings.HasPrefix(f[1], "/") || strings.HasSuffix(f[1], "/") {
		return fmt.Errorf("COPY %s: only \"COPY source /target\" is understood", rest)
	}
	c.src, c.dst = f[0], f[1]
	s.copies = append(s.copies, c)
	return nil
}
