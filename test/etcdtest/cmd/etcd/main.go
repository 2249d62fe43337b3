// Program etcd is the etcd server of this module's version, built beside our own
// programs, so that tests can kill and stop a member as a process. How a cluster is put together belongs to
// package etcdtest.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
