package main

import (
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/vpp-cni/vpp-cni/schema"
)

func TestParseArgs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		want cniArgs
	}{
		"empty":            {"", cniArgs{}},
		"containerd":       {"K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1;IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod", cniArgs{podUID: "u1", podNamespace: "ns", podName: "pod"}},
		"other order":      {"K8S_POD_NAME=pod;K8S_POD_NAMESPACE=ns;K8S_POD_UID=u1", cniArgs{podUID: "u1", podNamespace: "ns", podName: "pod"}},
		"each twice":       {"K8S_POD_UID=u1;K8S_POD_NAME=pod;K8S_POD_UID=u1;K8S_POD_NAME=pod", cniArgs{podUID: "u1", podName: "pod"}},
		"the last counts":  {"K8S_POD_UID=u1;K8S_POD_UID=u2", cniArgs{podUID: "u2"}},
		"no pairs":         {";;K8S_POD_UID;=;x", cniArgs{}},
		"sign in value":    {"MAC=02:00:00:00:00:01;X=a=b;K8S_POD_NAME=a=b", cniArgs{mac: "02:00:00:00:00:01", podName: "a=b"}},
		"space around":     {" K8S_POD_UID = u1 ", cniArgs{podUID: "u1"}},
		"other upper case": {"k8s_pod_uid=u1", cniArgs{}},
	} {
		if got := parseArgs(tc.in); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 254)
	for name, tc := range map[string]struct {
		container, ifname string
		args              cniArgs
		wantPod           schema.PodID
		wantErr           string
	}{
		"pod's UID":             {"c1", "net1", cniArgs{podUID: "u1"}, "u1", ""},
		"without Kubernetes":    {"c1", "net1", cniArgs{}, "c1", ""},
		"one character":         {"c", "e", cniArgs{}, "c", ""},
		"64 hex":                {testContainer, "net1", cniArgs{}, testContainer, ""},
		"slash":                 {"a/b", "net1", cniArgs{}, "", "CNI_CONTAINERID"},
		"dots":                  {"..", "net1", cniArgs{}, "", "CNI_CONTAINERID"},
		"newline":               {"c1\n", "net1", cniArgs{}, "", "CNI_CONTAINERID"},
		"empty":                 {"", "net1", cniArgs{}, "", "CNI_CONTAINERID"},
		"too long":              {strings.Repeat("c", 129), "net1", cniArgs{}, "", "CNI_CONTAINERID"},
		"interface too long":    {"c1", "sixteen-letters-", cniArgs{}, "", "CNI_IFNAME"},
		"UID that is a path":    {"c1", "net1", cniArgs{podUID: "../x"}, "", "K8S_POD_UID"},
		"name that is too long": {"c1", "net1", cniArgs{podName: long}, "", "K8S_POD_NAME"},
	} {
		id, err := identify(&skel.CmdArgs{ContainerID: tc.container, IfName: tc.ifname}, tc.args)
		switch {
		case tc.wantErr == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.wantErr == "" && id.pod.ID != tc.wantPod:
			t.Errorf("%s: pod %s, want %s", name, id.pod.ID, tc.wantPod)
		case tc.wantErr != "" && (err == nil || asError(err).Code != 4 || !strings.Contains(err.Error(), tc.wantErr)):
			t.Errorf("%s: got %v, want error 4 with %s", name, err, tc.wantErr)
		}
	}
}
