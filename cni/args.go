package main

import (
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
)

// maxPodName is the longest name and namespace in characters that Kubernetes
// allows (a DNS subdomain).
const maxPodName = 253

// cniArgs is what CNI_ARGS says of the pod. Every field may be empty.
type cniArgs struct {
	podUID, podNamespace, podName, mac string
}

// parseArgs reads CNI_ARGS: pairs in any order, keys that are given more than
// once (the last one counts), keys that it does not know, and parts that are no
// pair. Runtimes send them in random order, Multus sends each twice.
func parseArgs(s string) cniArgs {
	var a cniArgs
	for part := range strings.SplitSeq(s, ";") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "K8S_POD_UID":
			a.podUID = value
		case "K8S_POD_NAMESPACE":
			a.podNamespace = value
		case "K8S_POD_NAME":
			a.podName = value
		case "MAC":
			a.mac = value
		}
	}
	return a
}

// pod names the pod: by its UID where the runtime gives it, else by the
// container.
func (a cniArgs) pod(container schema.ContainerID) schema.PodRef {
	ref := schema.PodRef{ID: schema.PodID(a.podUID), Namespace: a.podNamespace, Name: a.podName}
	if a.podUID == "" {
		ref.ID = schema.PodID(container)
	}
	return ref
}

// identity is the attachment that a call speaks of.
type identity struct {
	container schema.ContainerID
	ifName    schema.IfName
	pod       schema.PodRef
}

// identify checks the names that the runtime gives in the environment.
func identify(cmd *skel.CmdArgs, a cniArgs) (identity, error) {
	id := identity{container: schema.ContainerID(cmd.ContainerID), ifName: schema.IfName(cmd.IfName)}
	id.pod = a.pod(id.container)
	checks := []struct {
		variable string
		err      error
	}{
		{"CNI_CONTAINERID", id.container.Validate()},
		{"CNI_IFNAME", id.ifName.Validate()},
		{"K8S_POD_UID in CNI_ARGS", id.pod.ID.Validate()},
		{"K8S_POD_NAMESPACE in CNI_ARGS", checkPodName(a.podNamespace)},
		{"K8S_POD_NAME in CNI_ARGS", checkPodName(a.podName)},
	}
	for _, c := range checks {
		if c.err != nil {
			return id, fail(types.ErrInvalidEnvironmentVariables, c.variable+" is not allowed", c.err)
		}
	}
	return id, nil
}

func checkPodName(s string) error {
	if len(s) <= maxPodName {
		return nil
	}
	return fmt.Errorf("it has %d characters, at most %d are allowed", len(s), maxPodName)
}
