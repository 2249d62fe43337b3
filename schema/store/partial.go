package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// What a user sees who may not read everything (Config.Partial): the keys that
// the user's own roles let it read, which etcd tells everybody of himself.

// readable are the prefixes under prefix that the user may read; it is empty
// where that is all of prefix, or nothing, or not to be shown in part.
func (s *Store) readable(ctx context.Context, prefix string) ([]string, error) {
	if s.cfg.Partial == nil || s.User() == "" {
		return nil, nil
	}
	roles, err := s.rolesOf(ctx, s.User())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range roles {
		perms, err := s.permissions(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, p := range perms {
			if p.kind != mayWrite && p.end == clientv3.GetPrefixRangeEnd(p.key) && strings.HasPrefix(p.key, prefix) {
				out = append(out, p.key)
			}
		}
	}
	slices.Sort(out)
	// One that another one covers says nothing more.
	var last string
	out = slices.DeleteFunc(out, func(p string) bool {
		if last != "" && strings.HasPrefix(p, last) {
			return true
		}
		last = p
		return false
	})
	if len(out) > 0 {
		s.cfg.Partial(out)
	}
	return out, nil
}

// listReadable is a list at one revision of what the user may read of prefix;
// denied is etcd's answer to all of it.
func (s *Store) listReadable(ctx context.Context, prefix string, keysOnly bool, denied error) (listing, error) {
	prefixes, err := s.readable(ctx, prefix)
	if err != nil || len(prefixes) == 0 {
		return listing{}, errors.Join(denied, err)
	}
	l := listing{partial: true}
	for _, p := range prefixes {
		part, err := s.Subtree("").listAt(ctx, p, keysOnly, l.rev)
		if err != nil {
			return listing{}, err
		}
		l.rev, l.cluster = part.rev, part.cluster
		l.kvs = append(l.kvs, part.kvs...)
	}
	return l, nil
}

// watchReadable is WatchAll of what the user may read.
func (s *Store) watchReadable(ctx context.Context, prefixes []string, fn func(Event)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var one sync.Mutex
	var wg sync.WaitGroup
	for _, p := range prefixes {
		wg.Go(func() {
			cancel(s.Subtree("").Follow(ctx, p, &teller{fn: func(e Event) {
				one.Lock()
				defer one.Unlock()
				fn(e)
			}}))
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
