// Program pause holds a pod's namespaces and does nothing, as Kubernetes' own
// pause does; it also stands for the application of a sample pod. It is no
// init for a shared PID namespace: it has no children to wait for.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
