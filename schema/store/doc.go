// Package store reads and writes the keys of package schema in etcd: guarded
// transactions, lists at a revision, watches that resume, and leased presence.
// It alone imports etcd's client. What a key or a value means belongs to
// package schema; what to do about a change belongs to the callers.
//
// Every call has a deadline (Config.RequestTimeout). Errors are classed: an
// error that errors.Is ErrUnavailable may go away by itself, one that is
// ErrConflict means that somebody else was faster, and any other needs a person.
package store
