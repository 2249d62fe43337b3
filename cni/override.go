package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/config"
)

// nodeConf is the node's configuration with what the network configuration may
// say of it.
type nodeConf struct {
	config.File
	etcd etcdConf
	// node and prefix are the network's, empty where it gives none.
	node, prefix string
	// ignored is what the network says and may not; nil: nothing.
	ignored error
}

// readNode reads the node's file. Where there is one, it alone says where etcd
// is, who this node is and under which prefix: the plugin is root and a network
// configuration may be anybody's (in Kubernetes, of whoever may write a
// NetworkAttachmentDefinition), who must not have the node's credentials, or any
// file as a password, sent to an etcd of their own. Where there is none, or where
// it says networkMayOverride, the network's word comes first.
//
// What is refused is an error for an ADD. A call that removes (lenient) goes by
// the node's file alone: the ADD was refused, and a DEL that fails keeps its pod
// for ever.
func readNode(c *netConf, getenv func(string) string, hostname func() (string, error), lenient bool) (nodeConf, error) {
	file, path, err := config.Find(getenv(config.Env))
	if err != nil {
		return nodeConf{}, fail(types.ErrInvalidNetworkConfig, "the node's configuration is not valid", err)
	}
	n := nodeConf{File: file, node: c.Node, prefix: c.Prefix}
	err = section("etcd", c.Etcd, &n.etcd)
	if path != "" && !file.NetworkMayOverride {
		if err == nil {
			err = n.differs(c.ConfigFile, path, hostname)
		}
		n.etcd, n.node, n.prefix = etcdConf{}, "", ""
		if err != nil && lenient {
			n.ignored, err = err, nil
		}
		return n, err
	}
	if err != nil {
		return nodeConf{}, err
	}
	if c.ConfigFile != "" {
		if n.File, err = namedFile(c.ConfigFile); err != nil {
			return nodeConf{}, err
		}
	}
	return n, n.credentialsAlone()
}

// namedFile reads the file that the network configuration names. Its errors do
// not tell what is in the file: it may be any.
func namedFile(path string) (config.File, error) {
	file, err := config.Load(path)
	if err == nil {
		return file, nil
	}
	var missing *fs.PathError
	if !errors.As(err, &missing) {
		err = fmt.Errorf("configFile %s is no configuration of a node (vpp-cnictl --config %s tells the operator why)", path, path)
	}
	return config.File{}, fail(types.ErrInvalidNetworkConfig, "the configuration that the network names cannot be used", err)
}

// differs names what the network configuration says otherwise than the node's
// file at path.
func (n nodeConf) differs(configFile, path string, hostname func() (string, error)) error {
	node := n.Node
	if node == "" {
		node, _ = hostname() // newSettings says what is wrong with it
	}
	ours, file := n.etcd, n.Etcd
	var errs []error
	refuse := func(field, value string, differs bool) {
		if value != "" && differs {
			errs = append(errs, &schema.FieldError{
				Field: field, Value: value, Allowed: "left out or as on this node, whose file " + path + " does not say networkMayOverride: true",
			})
		}
	}
	refuse("configFile", configFile, filepath.Clean(configFile) != filepath.Clean(path))
	refuse("node", n.node, n.node != node)
	refuse("prefix", n.prefix, n.prefix != first(n.Prefix, schema.DefaultPrefix))
	refuse("etcd.endpoints", strings.Join(ours.Endpoints, ","), !slices.Equal(sorted(ours.Endpoints), sorted(file.Endpoints)))
	refuse("etcd.cacert", ours.CACert, ours.CACert != file.CACert)
	refuse("etcd.cert", ours.Cert, ours.Cert != file.Cert)
	refuse("etcd.key", ours.Key, ours.Key != file.Key)
	refuse("etcd.user", ours.User, ours.User != file.User)
	refuse("etcd.passwordFile", ours.PasswordFile, ours.PasswordFile != file.PasswordFile)
	if len(errs) == 0 {
		return nil
	}
	return invalid(errors.Join(errs...))
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// credentialsAlone refuses credentials without the endpoints that they are for:
// they must not go to an etcd that somebody else has named.
func (n nodeConf) credentialsAlone() error {
	if len(n.etcd.Endpoints) > 0 {
		return nil
	}
	for field, value := range map[string]string{
		"etcd.cacert": n.etcd.CACert, "etcd.cert": n.etcd.Cert, "etcd.key": n.etcd.Key,
		"etcd.user": n.etcd.User, "etcd.passwordFile": n.etcd.PasswordFile,
	} {
		if value != "" {
			return badField(field, value, "together with etcd.endpoints, where the network configuration has credentials of its own")
		}
	}
	return nil
}
