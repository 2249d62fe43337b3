package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// project is the lab's name for docker.
const project = "vpp-cni-lab"

var errNoEngine = errors.New("no engine")

// compose calls docker-compose 1.29 or docker compose 2.
type compose struct {
	program []string
	dir     string
	env     []string
}

// newCompose looks for an engine. COMPOSE names the command where there are both.
func newCompose(ctx context.Context, dir string) (*compose, error) {
	root, err := output(exec.CommandContext(ctx, "docker", "info", "-f", "{{.DockerRootDir}}"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEngine, err)
	}
	c := &compose{dir: dir, env: append(os.Environ(), "COMPOSE_PROJECT_NAME="+project, "DOCKER_ROOT="+strings.TrimSpace(root))}
	candidates := [][]string{{"docker-compose"}, {"docker", "compose"}}
	if own := strings.Fields(os.Getenv("COMPOSE")); len(own) > 0 {
		candidates = [][]string{own}
	}
	var errs []error
	for _, program := range candidates {
		if _, err := output(exec.CommandContext(ctx, program[0], append(program[1:len(program):len(program)], "version")...)); err != nil { //nolint:gosec // the user names it
			errs = append(errs, err)
			continue
		}
		c.program = program
		return c, nil
	}
	return nil, fmt.Errorf("%w: %w", errNoEngine, errors.Join(errs...))
}

// command is a compose command. The file's profiles are all on: what is not asked
// for by name is started by order alone.
func (c *compose) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append(c.program[1:len(c.program):len(c.program)], "-f", filepath.Join(c.dir, "docker-compose.yml"), "-p", project)
	cmd := exec.CommandContext(ctx, c.program[0], append(all, args...)...) //nolint:gosec // the user names it
	cmd.Env = c.env
	return cmd
}

// run runs a compose command and gives its standard output; its progress is kept
// for the error.
func (c *compose) run(ctx context.Context, args ...string) (string, error) {
	return output(c.command(ctx, args...))
}

// in runs a program in a service's container.
func (c *compose) in(ctx context.Context, service string, args ...string) (string, error) {
	return c.run(ctx, append([]string{"exec", "-T", service}, args...)...)
}

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// left lists what docker still has of the lab, by the project's label.
func left(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	for kind, args := range map[string][]string{
		"container": {"ps", "-aq"}, "volume": {"volume", "ls", "-q"}, "network": {"network", "ls", "-q"},
	} {
		text, err := output(exec.CommandContext(ctx, "docker", append(args, "--filter", "label=com.docker.compose.project="+project)...)) //nolint:gosec // arguments of ours
		if err != nil {
			return nil, err
		}
		if ids := strings.Fields(text); len(ids) > 0 {
			out[kind] = ids
		}
	}
	return out, nil
}
