package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/vpp-cni/vpp-cni/schema"
)

// differences names the fields in which a request differs from what is stored.
// Addresses and routes are IPAM's and are taken from the stored values.
func differences(r request, host schema.HostInterface, pod schema.PodInterface) []string {
	wantHost, wantPod := r.expect(host)
	wantHost.Gateways, wantHost.PodAddresses = host.Gateways, host.PodAddresses
	wantPod.Addresses, wantPod.Gateways, wantPod.Routes, wantPod.DNS = pod.Addresses, pod.Gateways, pod.Routes, pod.DNS
	return append(diff("host", object(wantHost), object(host)), diff("pod", object(wantPod), object(pod))...)
}

// object is v as decoded JSON, so that what is compared is what stands in etcd.
func object[V schema.Value](v V) map[string]any {
	var m map[string]any
	data, err := schema.Encode(v)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return m
}

// diff walks both objects and says per field what is asked for and what is
// there. Secrets are named, not shown.
func diff(path string, want, have map[string]any) []string {
	keys := maps.Clone(want)
	maps.Copy(keys, have)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		w, h := want[k], have[k]
		if reflect.DeepEqual(w, h) {
			continue
		}
		field := path + "." + k
		wo, wantObject := w.(map[string]any)
		ho, haveObject := h.(map[string]any)
		switch {
		case wantObject && haveObject:
			out = append(out, diff(field, wo, ho)...)
		case strings.EqualFold(k, "secret"):
			out = append(out, field+" differs")
		case wantObject || haveObject:
			out = append(out, fmt.Sprintf("%s: %s asked, %s there", field, presence(wantObject), presence(haveObject)))
		default:
			out = append(out, fmt.Sprintf("%s: %s asked, %s there", field, show(w), show(h)))
		}
	}
	return out
}

func presence(p bool) string {
	if p {
		return "an object"
	}
	return "none"
}

func show(v any) string {
	if v == nil {
		return "none"
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}
