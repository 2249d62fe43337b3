package vppsim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrCommand says that a control line was not understood.
var ErrCommand = errors.New("bad control command")

// controlCommand is one word of Control. run gets as many arguments as it has
// in its usage, those in brackets may be missing.
type controlCommand struct {
	name, usage string
	least, most int
	run         func(s *Sim, args []string) (string, error)
}

func controlCommands() []controlCommand {
	return []controlCommand{
		{"refuse", "MESSAGE RETVAL [TIMES]", 2, 3, controlRefuse},
		{"delay", "MESSAGE DURATION", 2, 2, controlDelay},
		{"die-on", "MESSAGE", 1, 1, done(func(s *Sim, a []string) { s.DieOn(a[0]) })},
		{"ignore", "MESSAGE", 1, 1, done(func(s *Sim, a []string) { s.Ignore(a[0]) })},
		{"hang", "", 0, 0, done(func(s *Sim, _ []string) { s.Hang() })},
		{"resume", "", 0, 0, done(func(s *Sim, _ []string) { s.Resume() })},
		{"clear", "", 0, 0, done(func(s *Sim, _ []string) { s.ClearFaults() })},
		{"drop", "", 0, 0, done(func(s *Sim, _ []string) { s.DropConnections() })},
		{"kill", "", 0, 0, done(func(s *Sim, _ []string) { s.Kill() })},
		{"restart", "", 0, 0, func(s *Sim, _ []string) (string, error) { return "", s.Restart() }},
		{"calls", "[MESSAGE]", 0, 1, controlCalls},
		{"reset-calls", "", 0, 0, done(func(s *Sim, _ []string) { s.ResetCalls() })},
		{"pid", "", 0, 0, func(s *Sim, _ []string) (string, error) { return strconv.Itoa(int(s.PID())), nil }},
		{"clients", "", 0, 0, func(s *Sim, _ []string) (string, error) { return strings.Join(s.Clients(), " "), nil }},
	}
}

// Control runs one line of text, as scripts send them over the fault socket:
//
//	refuse MESSAGE RETVAL [TIMES]   delay MESSAGE DURATION   die-on MESSAGE
//	ignore MESSAGE   hang   resume   clear   drop   kill   restart
//	calls [MESSAGE]   reset-calls   pid   clients
//
// The answer is one line, empty for most. Errors wrap ErrCommand where the line
// is wrong.
func (s *Sim) Control(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", fmt.Errorf("%w: empty line", ErrCommand)
	}
	commands := controlCommands()
	n := slices.IndexFunc(commands, func(c controlCommand) bool { return c.name == words[0] })
	if n < 0 {
		names := make([]string, 0, len(commands))
		for _, c := range commands {
			names = append(names, c.name)
		}
		return "", fmt.Errorf("%w: %q is none of %s", ErrCommand, words[0], strings.Join(names, ", "))
	}
	c, args := commands[n], words[1:]
	if len(args) < c.least || len(args) > c.most {
		return "", fmt.Errorf("%w: want %s %s", ErrCommand, c.name, c.usage)
	}
	return c.run(s, args)
}

// done makes a command of what cannot fail and answers nothing.
func done(f func(s *Sim, args []string)) func(*Sim, []string) (string, error) {
	return func(s *Sim, args []string) (string, error) {
		f(s, args)
		return "", nil
	}
}

func controlRefuse(s *Sim, args []string) (string, error) {
	rv, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil {
		return "", fmt.Errorf("%w: retval: %w", ErrCommand, err)
	}
	times := -1
	if len(args) == 3 {
		if times, err = strconv.Atoi(args[2]); err != nil {
			return "", fmt.Errorf("%w: times: %w", ErrCommand, err)
		}
	}
	s.Refuse(args[0], int32(rv), times)
	return "", nil
}

func controlDelay(s *Sim, args []string) (string, error) {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCommand, err)
	}
	s.Delay(args[0], d)
	return "", nil
}

// controlCalls tells one counter, or all as name=count.
func controlCalls(s *Sim, args []string) (string, error) {
	calls := s.Calls()
	if len(args) == 1 {
		return strconv.Itoa(calls[args[0]]), nil
	}
	all := make([]string, 0, len(calls))
	for name, n := range calls {
		all = append(all, fmt.Sprintf("%s=%d", name, n))
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}
