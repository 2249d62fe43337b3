package deviceplugin

import (
	"fmt"

	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// deviceID is the i-th device's name. The digits are enough for the largest
// maxAttachments, so that names sort as numbers do.
func deviceID(i int) string { return fmt.Sprintf("attachment-%05d", i) }

// devices are the devices of a node that serves so many attachments and has those
// with these device ids. Each attachment that has none of ours, or one that another
// has too, takes one that nobody has, the last ones first.
func devices(limit int, attachments []string, serving bool) []*kubelet.Device {
	list := make([]*kubelet.Device, limit)
	index := make(map[string]int, limit)
	for i := range list {
		list[i] = &kubelet.Device{ID: deviceID(i), Health: kubelet.Healthy}
		index[list[i].ID] = i
	}
	used, unknown := make([]bool, limit), 0
	for _, id := range attachments {
		if i, ours := index[id]; ours && !used[i] {
			used[i] = true
		} else {
			unknown++
		}
	}
	for i := limit - 1; i >= 0; i-- {
		switch {
		case !serving:
			list[i].Health = kubelet.Unhealthy
		case unknown > 0 && !used[i]:
			list[i].Health = kubelet.Unhealthy
			unknown--
		}
	}
	return list
}
