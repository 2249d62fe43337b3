package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the policy of components/admission answers.
const (
	onlyPods    = "the only hostPath that pods may have here is /run/vpp-cni/pods, with type: Directory"
	onlyOwn     = "each mount of /run/vpp-cni/pods must have readOnly: true, subPathExpr: $(POD_UID) and no mountPropagation"
	onlyFromUID = "must have POD_UID once in env, by valueFrom.fieldRef.fieldPath: metadata.uid"
)

// Places in the pod of samples/ping, whose first container is VPP.
const (
	vppContainer = "/spec/initContainers/0"
	podsVolume   = "/spec/volumes/2"
	podsMount    = vppContainer + "/volumeMounts/2"
)

// refused are pods of the samples with a change each (a JSON patch), and what the
// API server must say to it.
var refused = []struct{ name, patch, says string }{
	{"the node's root", `[{"op":"replace","path":"` + podsVolume + `/hostPath","value":{"path":"/","type":"Directory"}}]`, onlyPods},
	{"the run-dir", `[{"op":"replace","path":"` + podsVolume + `/hostPath/path","value":"/run/vpp-cni"}]`, onlyPods},
	{"a directory of another pod", `[{"op":"replace","path":"` + podsVolume + `/hostPath/path","value":"/run/vpp-cni/pods/11111111-1111-1111-1111-111111111111"}]`, onlyPods},
	{"a directory to be made", `[{"op":"replace","path":"` + podsVolume + `/hostPath/type","value":"DirectoryOrCreate"}]`, onlyPods},
	{"one more hostPath, that nobody mounts", `[{"op":"add","path":"/spec/volumes/-","value":{"name":"root","hostPath":{"path":"/"}}}]`, onlyPods},

	{"all pods' directories", `[{"op":"remove","path":"` + podsMount + `/subPathExpr"}]`, onlyOwn},
	{"a subPath", `[{"op":"remove","path":"` + podsMount + `/subPathExpr"},{"op":"add","path":"` + podsMount + `/subPath","value":"x"}]`, onlyOwn},
	{"another subPathExpr", `[{"op":"replace","path":"` + podsMount + `/subPathExpr","value":"$(HOSTNAME)"}]`, onlyOwn},
	{"writable", `[{"op":"remove","path":"` + podsMount + `/readOnly"}]`, onlyOwn},
	{"mount propagation", `[{"op":"add","path":"` + podsMount + `/mountPropagation","value":"HostToContainer"}]`, onlyOwn},
	{"a second mount", `[{"op":"add","path":"` + vppContainer + `/volumeMounts/-","value":{"name":"pods","mountPath":"/all","readOnly":true}}]`, onlyOwn},
	{"a container that is no sidecar", `[{"op":"add","path":"/spec/containers/0/volumeMounts/-","value":{"name":"pods","mountPath":"/all","readOnly":true}}]`, onlyOwn},

	{"no POD_UID", `[{"op":"remove","path":"` + vppContainer + `/env"}]`, onlyFromUID},
	{"POD_UID by value", `[{"op":"replace","path":"` + vppContainer + `/env/0","value":{"name":"POD_UID","value":"11111111-1111-1111-1111-111111111111"}}]`, onlyFromUID},
	{"POD_UID of another field", `[{"op":"replace","path":"` + vppContainer + `/env/0/valueFrom/fieldRef/fieldPath","value":"metadata.labels['uid']"}]`, onlyFromUID},
	{"POD_UID twice", `[{"op":"add","path":"` + vppContainer + `/env/-","value":{"name":"POD_UID","value":"."}}]`, onlyFromUID},
	{"POD_UID by envFrom", `[{"op":"remove","path":"` + vppContainer + `/env"},{"op":"add","path":"` + vppContainer + `/envFrom","value":[{"configMapRef":{"name":"c"}}]}]`, onlyFromUID},

	{"the host's network", `[{"op":"add","path":"/spec/hostNetwork","value":true}]`, "hostNetwork, hostPID and hostIPC are not allowed"},
	{"the host's processes", `[{"op":"add","path":"/spec/hostPID","value":true}]`, "hostNetwork, hostPID and hostIPC are not allowed"},
	{"privileged", `[{"op":"replace","path":"/spec/containers/0/securityContext","value":{"privileged":true}}]`, "privileged containers are not allowed"},
	{"a capability", `[{"op":"add","path":"/spec/containers/0/securityContext/capabilities/add","value":["CHOWN","SYS_ADMIN"]}]`, "no capability may be added"},
	{"a host port", `[{"op":"add","path":"/spec/containers/0/ports","value":[{"containerPort":80,"hostPort":80}]}]`, "host ports are not allowed"},
	{"no seccomp", `[{"op":"replace","path":"/spec/securityContext/seccompProfile/type","value":"Unconfined"}]`, "must not be Unconfined"},
	{"no AppArmor", `[{"op":"add","path":"/spec/containers/0/securityContext/appArmorProfile","value":{"type":"Unconfined"}}]`, "must not be Unconfined"},
	{"no AppArmor by annotation", `[{"op":"add","path":"/metadata/annotations","value":{"container.apparmor.security.beta.kubernetes.io/app":"unconfined"}}]`, "must not be Unconfined"},
	{"all of /proc", `[{"op":"add","path":"/spec/hostUsers","value":false},{"op":"add","path":"/spec/containers/0/securityContext/procMount","value":"Unmasked"}]`, "procMount must be Default"},
	{"an SELinux type", `[{"op":"add","path":"/spec/securityContext/seLinuxOptions","value":{"type":"spc_t"}}]`, "seLinuxOptions"},
	{"a sysctl", `[{"op":"add","path":"/spec/securityContext/sysctls","value":[{"name":"kernel.msgmax","value":"1"}]}]`, "no sysctl may be set"},
	{"a probe of another host", `[{"op":"add","path":"/spec/containers/0/livenessProbe","value":{"httpGet":{"host":"192.0.2.1","port":80}}}]`, "must not name a host"},
}

// allowed are changes that nobody minds.
var allowed = []struct{ name, patch string }{
	{"as delivered", `[]`},
	{"a capability of baseline's", `[{"op":"add","path":"/spec/containers/0/securityContext/capabilities/add","value":["CHOWN"]}]`},
	{"a probe of its own", `[{"op":"add","path":"/spec/containers/0/livenessProbe","value":{"httpGet":{"port":80}}}]`},
	{"no directory at all", `[{"op":"remove","path":"` + podsMount + `"},{"op":"remove","path":"` + vppContainer + `/env"},{"op":"remove","path":"/spec/initContainers/1"},{"op":"remove","path":"` + podsVolume + `"}]`},
}

// admission tries what else pods could ask for in a namespace of pods with an
// attachment.
func (w *world) admission(t *testing.T) {
	w.eventually(t, "the API server has checked the policy's types", func(ctx context.Context) error {
		out, err := w.Kubectl(ctx, "get", "validatingadmissionpolicy", "vpp-cni-pods", "-o", "jsonpath={.status}")
		if err == nil && !strings.Contains(out, `"typeChecking":{}`) {
			err = errors.New(out)
		}
		return err
	})
	pod := w.asPod(t)
	for _, c := range allowed {
		if err := w.tryPod(t, samples, pod, c.patch); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range refused {
		err := w.tryPod(t, samples, pod, c.patch)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		t.Logf("%s: %v", c.name, err)
	}
	if err := w.tryPod(t, "default", pod, refused[0].patch); err != nil {
		t.Errorf("in a namespace without the label: %v", err)
	}
	w.debug(t)
}

// asPod is what the Deployment of the samples makes, as JSON.
func (w *world) asPod(t *testing.T) string {
	t.Helper()
	var deployment struct {
		Spec struct {
			Template struct {
				Metadata, Spec map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(w.kubectl(t, "get", "deployment", "-n", samples, "ping", "-o", "json")), &deployment); err != nil {
		t.Fatal(err)
	}
	template := deployment.Spec.Template
	template.Metadata["name"] = "tried"
	pod, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": template.Metadata, "spec": template.Spec})
	if err != nil {
		t.Fatal(err)
	}
	return string(pod)
}

// tryPod asks the API server for a changed pod, and makes none.
func (w *world) tryPod(t *testing.T, namespace, pod, patch string) error {
	t.Helper()
	changed, err := w.KubectlApply(t.Context(), pod, "patch", "--local", "-f", "-", "--type=json", "-p", patch, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.KubectlApply(t.Context(), changed, "create", "-n", namespace, "--dry-run=server", "-f", "-")
	return err
}

// debug adds containers to a pod that runs.
func (w *world) debug(t *testing.T) {
	t.Helper()
	custom := filepath.Join(t.TempDir(), "custom.json")
	if err := os.WriteFile(custom, []byte(`{"volumeMounts":[{"name":"pods","mountPath":"/all","readOnly":true}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := w.pair(t)[0].Name
	for _, c := range []struct{ says, args string }{
		{onlyOwn, "--profile=baseline --custom=" + custom},
		{"privileged containers are not allowed", "--profile=sysadmin"},
	} {
		args := append([]string{"debug", "-n", samples, "pod/" + pod, "--image=registry.k8s.io/pause:3.10"}, strings.Fields(c.args)...)
		if out, err := w.Kubectl(t.Context(), args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("kubectl debug %s: %v: %s, want %q", c.args, err, out, c.says)
		}
	}
}
