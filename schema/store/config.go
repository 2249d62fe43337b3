package store

import (
	"time"

	"go.uber.org/zap"
)

// The defaults of Config.
const (
	DefaultDialTimeout      = 5 * time.Second
	DefaultRequestTimeout   = 5 * time.Second
	DefaultProgressInterval = 10 * time.Second
)

// Config says where etcd is and how to speak with it.
type Config struct {
	// Endpoints are host:port, http://, https:// or unix:///path; all plain or
	// all TLS.
	Endpoints []string
	// CACert is the file of the certificates that sign etcd's; empty: the
	// system's. Any of the three files makes the connection TLS.
	CACert string
	// Cert and Key are the files of the client's certificate; both or none.
	Cert, Key string
	// User and PasswordFile log in; the file's last newline is not part of the
	// password. Both or none.
	User, PasswordFile string
	// Prefix is the part of every key before the contract's version; empty:
	// schema.DefaultPrefix.
	Prefix string
	// DialTimeout bounds the log-in; 0: DefaultDialTimeout.
	DialTimeout time.Duration
	// RequestTimeout bounds each call; 0: DefaultRequestTimeout.
	RequestTimeout time.Duration
	// ProgressInterval is how often a watch asks etcd for a sign of life; after
	// three without one it starts anew. 0: DefaultProgressInterval.
	ProgressInterval time.Duration
	// Logger is for etcd's client; nil: it is quiet.
	Logger *zap.Logger
}
