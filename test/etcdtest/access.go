package etcdtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

// TLS says whether the environment asks for clusters with TLS, client
// certificates and users: TLS=1 make demo. It is read here and nowhere else.
func TLS() bool { v := os.Getenv("TLS"); return v != "" && v != "0" }

// serverName is the common name of the servers' certificate, which peers must
// have.
const serverName = "etcd"

// initTimeout bounds the making of roles and users.
const initTimeout = 30 * time.Second

// Access is how clients get at a cluster that has TLS, asks for client
// certificates and has users: a CA, and the roles that vpp-cnictl etcd init-roles
// makes, by the same code.
type Access struct {
	CA *CA
	// Root is etcd's administrator, Operator who may do anything with the keys.
	Root, Operator Pair

	endpoints []string
	server    Pair
	names     store.RoleNames

	mu    sync.Mutex
	nodes []store.NodeUser
}

// newAccess makes the CA and the certificates of whom every cluster has.
func newAccess(dir string) (*Access, error) {
	a := &Access{names: store.NamesOfRoles(schema.Keys{})}
	var err error
	if a.CA, err = NewCA(filepath.Join(dir, "pki")); err != nil {
		return nil, err
	}
	for name, pair := range map[string]*Pair{serverName: &a.server, "root": &a.Root, a.names.Operator: &a.Operator} {
		if *pair, err = a.CA.Issue(name, nil); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Store is how the product connects with a certificate.
func (a *Access) Store(p Pair) store.Config {
	return store.Config{Endpoints: a.endpoints, CACert: a.CA.File, Cert: p.Cert, Key: p.Key}
}

// Node makes a node's role and user where they are missing, and a certificate
// for it.
func (a *Access) Node(ctx context.Context, name string) (Pair, error) {
	a.mu.Lock()
	n := store.NodeUser{Node: schema.Node(name)}
	if !slices.Contains(a.nodes, n) {
		a.nodes = append(a.nodes, n)
	}
	a.mu.Unlock()
	if err := a.Init(ctx); err != nil {
		return Pair{}, err
	}
	return a.CA.Issue(a.names.Node(n.Node), nil)
}

// init is Init as part of a cluster's start, which has no context; Init bounds
// it.
func (a *Access) init() error { return a.Init(context.Background()) }

// Init makes the roles and users of all nodes so far and turns authentication
// on, as a cluster with nothing in it needs.
func (a *Access) Init(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	s, err := store.Open(a.Store(a.Root))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := s.PlanRoles(ctx, store.RolesConfig{Nodes: a.nodes, Enable: true})
	if err != nil {
		return fmt.Errorf("init roles: %w", err)
	}
	if err := p.Apply(ctx, func(string) {}); err != nil {
		return fmt.Errorf("init roles: %w", err)
	}
	return nil
}

// Client returns a plain client with a certificate, for what the product's own
// does not do.
func (a *Access) Client(p Pair) (*clientv3.Client, error) {
	pool, err := poolOf(a.CA.File)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Endpoints: a.endpoints, DialTimeout: startTimeout, Logger: zap.NewNop(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}},
	})
}

// Ctl are the environment's variables with which etcdctl connects as the
// operator.
func (a *Access) Ctl() []string {
	return []string{"ETCDCTL_CACERT=" + a.CA.File, "ETCDCTL_CERT=" + a.Operator.Cert, "ETCDCTL_KEY=" + a.Operator.Key}
}

// flags are those of etcd for its clients and, with the same files, its peers. Its
// CA is the clients' too, so that a peer is told by its name.
func (a *Access) flags() []string {
	out := []string{"--peer-cert-allowed-cn", serverName}
	for _, side := range []string{"", "peer-"} {
		out = append(out, "--"+side+"cert-file", a.server.Cert, "--"+side+"key-file", a.server.Key,
			"--"+side+"trusted-ca-file", a.CA.File, "--"+side+"client-cert-auth")
	}
	return out
}
