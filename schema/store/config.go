package store

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/vpp-cni/vpp-cni/schema"
)

// The defaults of Config.
const (
	DefaultDialTimeout      = 5 * time.Second
	DefaultRequestTimeout   = 5 * time.Second
	DefaultProgressInterval = 5 * time.Second
)

// Config says where etcd is and how to speak with it.
type Config struct {
	// Endpoints are host:port, http://, https:// or unix:///path; all plain or
	// all TLS.
	Endpoints []string
	// CACert is the file of the certificates that sign etcd's; empty: the
	// system's. Any of the three files makes the connection TLS. They are read
	// anew at each handshake.
	CACert string
	// Cert and Key are the files of the client's certificate; both or none. For an
	// etcd with users the certificate's common name is the user.
	Cert, Key string
	// User and PasswordFile log in; the file's last newline is not part of the
	// password. It is read anew at each log-in. Both or none.
	User, PasswordFile string
	// Prefix is the part of every key before the contract's version; empty:
	// schema.DefaultPrefix.
	Prefix string
	// DialTimeout bounds a log-in; 0: DefaultDialTimeout.
	DialTimeout time.Duration
	// RequestTimeout bounds each call; 0: DefaultRequestTimeout.
	RequestTimeout time.Duration
	// ProgressInterval is how often a watch asks etcd for a sign of life; after
	// three without one it starts anew. 0: DefaultProgressInterval.
	ProgressInterval time.Duration
	// Partial, where it is not nil, lets Nodes, Attachments and WatchAll show what
	// the user may read where that is not all, and is called with the prefixes that
	// are shown. It is for people's eyes: nothing may be concluded from what such a
	// list leaves out.
	Partial func(shown []string)
	// Logger is for etcd's client; nil: it is quiet.
	Logger *zap.Logger
}

// connectParams bring a connection back within seconds of its endpoint; gRPC's
// own wait grows to two minutes.
var connectParams = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
	MinConnectTimeout: 3 * time.Second,
}

// client is the configuration of etcd's client, without who we are.
func (c Config) client() clientv3.Config {
	out := clientv3.Config{
		Endpoints:            c.Endpoints,
		DialTimeout:          c.DialTimeout,
		DialKeepAliveTime:    keepaliveTime,
		DialKeepAliveTimeout: keepaliveTimeout,
		Logger:               c.Logger,
		DialOptions: []grpc.DialOption{
			// A proxy of the runtime's environment is for pulling images.
			grpc.WithNoProxy(),
			grpc.WithConnectParams(connectParams),
		},
	}
	return out
}

// secure checks the endpoints and says whether the connection is TLS. etcd's
// client takes the first endpoint's scheme for all of them, so a mix would send
// in the clear, or fail, what looks configured.
func (c Config) secure() (bool, error) {
	if len(c.Endpoints) == 0 {
		return false, errors.New("no endpoints are given")
	}
	files := c.CACert != "" || c.Cert != "" || c.Key != ""
	var schemes [2]string // plain, TLS
	for _, ep := range c.Endpoints {
		scheme, rest, ok := strings.Cut(ep, "://")
		if !ok {
			scheme, rest = "", ep
		}
		if err := checkEndpoint(ep, scheme, rest); err != nil {
			return false, err
		}
		if scheme == "https" || scheme == "unixs" || files && scheme != "http" {
			schemes[1] = ep
		} else {
			schemes[0] = ep
		}
	}
	switch {
	case schemes[0] != "" && schemes[1] != "":
		return false, fmt.Errorf("endpoint %s is TLS and %s is not: they must be alike", schemes[1], schemes[0])
	case files && schemes[0] != "":
		return false, fmt.Errorf("endpoint %s is not TLS, but cacert, cert or key is set: write https://", schemes[0])
	}
	return schemes[1] != "", nil
}

func checkEndpoint(ep, scheme, rest string) error {
	bad := &schema.FieldError{Field: "endpoint", Value: ep, Allowed: "host:port, http://host:port, https://host:port or unix:///path"}
	switch scheme {
	case "unix", "unixs":
		if !strings.HasPrefix(rest, "/") || len(rest) > schema.MaxSocketPath {
			return bad
		}
		return nil
	case "", "http", "https":
		host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
		if err != nil || host == "" || strings.ContainsAny(host, "/@ \t\n") {
			return bad
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return bad
		}
		return nil
	default:
		return bad
	}
}
