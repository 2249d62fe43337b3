package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
)

// WatchAll calls fn, from one goroutine, with everything under prefix (an
// absolute key prefix) and then with each change, until ctx ends. After a break
// fn gets an Event with Lost, and then what changed meanwhile.
func (s *Store) WatchAll(ctx context.Context, prefix string, fn func(Event)) error {
	// It is asked what the user may read only where it may not read all: an etcd
	// that is away is Follow's to tell of.
	if _, err := s.Subtree("").listAt(ctx, prefix+"x", true, 0); errors.Is(err, ErrDenied) {
		prefixes, err := s.readable(ctx, prefix)
		if err != nil {
			return err
		}
		if len(prefixes) > 0 {
			return s.watchReadable(ctx, prefixes, fn)
		}
	}
	return s.Subtree("").Follow(ctx, prefix, &teller{fn: fn})
}

// teller makes events of what Follow finds. It remembers the values, since
// after a break only they tell what was deleted.
type teller struct {
	fn    func(Event)
	begun bool
	lost  bool
	known map[string]Entry
}

// Snapshot tells the difference from what is known.
func (t *teller) Snapshot(entries map[string]Entry, rev int64) {
	var events []Event
	for key, e := range entries {
		if old, ok := t.known[key]; !ok || old.Rev != e.Rev && !bytes.Equal(old.Value, e.Value) {
			events = append(events, Event{Key: key, Rev: e.Rev, Value: e.Value, Prev: old.Value, Initial: !t.begun})
		}
	}
	for key, old := range t.known {
		if _, ok := entries[key]; !ok {
			events = append(events, Event{Key: key, Rev: rev, Prev: old.Value})
		}
	}
	slices.SortFunc(events, func(a, b Event) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	t.known, t.begun, t.lost = entries, true, false
	for _, e := range events {
		t.fn(e)
	}
}

// Changed tells one change.
func (t *teller) Changed(key string, e *Entry, rev int64) {
	ev := Event{Key: key, Rev: rev, Prev: t.known[key].Value}
	if e == nil {
		delete(t.known, key)
	} else {
		ev.Value = e.Value
		t.known[key] = *e
	}
	t.fn(ev)
}

// Lost tells the first of several failures in a row.
func (t *teller) Lost(err error) {
	if !t.lost {
		t.lost = true
		t.fn(Event{Lost: err})
	}
}
