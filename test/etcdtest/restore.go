package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// Snapshot saves what the cluster holds to a file, as etcdctl snapshot save
// does, for Restore.
func (c *Cluster) Snapshot(ctx context.Context) (path string, err error) {
	cl, err := c.Client()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, cl.Close()) }()
	data, err := cl.Snapshot(ctx)
	if err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	f, err := os.CreateTemp(c.dir, "snapshot")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, data)
	return f.Name(), err
}

// Restore stops all members, gives them what Snapshot has saved and starts them
// again: the same endpoints, another cluster. Its revision is the snapshot's and
// bump on top, which with 0 is lower than what clients have seen; with more,
// history before is compacted, as etcd's disaster recovery asks for.
func (c *Cluster) Restore(path string, bump uint64) error {
	c.Close()
	var all []string
	for _, m := range c.members {
		all = append(all, m.name+"="+m.peer.String())
	}
	for _, m := range c.members {
		dir := filepath.Join(c.dir, m.name)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
			SnapshotPath: path, Name: m.name, OutputDataDir: dir, PeerURLs: []string{m.peer.String()},
			InitialCluster: strings.Join(all, ","), InitialClusterToken: filepath.Base(path),
			RevisionBump: bump, MarkCompacted: bump > 0,
		})
		if err != nil {
			return fmt.Errorf("restore %s: %w", m.name, err)
		}
	}
	return c.startAll()
}
