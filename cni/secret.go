package main

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/vpp-cni/vpp-cni/schema"
)

// secretOff is what memif.secret says where the ends are to have none.
const secretOff = "none"

// secretBytes are 136 bits: as many whole bytes as 23 characters of six bits hold.
const secretBytes = 17

// secretText writes six bits a character. All of them stand in a shell, in YAML
// and in VPP's command line without quotes, at any place.
var secretText = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.").WithPadding(base64.NoPadding)

// newSecret is a secret for one attachment, of 23 characters, all that VPP's
// field has room for.
func newSecret() schema.Secret {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // it never fails: a system without random bytes ends the program
	return schema.NewSecret(secretText.EncodeToString(b))
}

// setSecret reads memif.secret, which may stand at one end or at both: a text is
// taken, none is none, and where nothing stands each attachment gets its own.
func (o *endsConf) setSecret(host, pod schema.Secret) error {
	secret := host
	switch {
	case host.IsZero():
		secret = pod
	case !pod.IsZero() && pod != host:
		return badField("container.memif.secret", pod.String(), "the same as host.memif.secret, or absent")
	}
	if err := schema.CheckSecret("memif.secret", secret); err != nil {
		return invalid(err)
	}
	o.ownSecret = secret.IsZero()
	if secret.Reveal() == secretOff {
		secret = schema.Secret{}
	}
	o.host.memif.Secret, o.pod.memif.Secret = secret, secret
	return nil
}

// expect is what an attachment that is there should be: r without addresses,
// which are IPAM's, and with the secret and the device that it was made with,
// whichever those are.
// One that an older version made has none, and goes on so.
func (r request) expect(host schema.HostInterface) (schema.HostInterface, schema.PodInterface) {
	if r.ends.ownSecret && host.Memif != nil {
		r.secret = host.Memif.Secret
	}
	r.device = host.DeviceID // which device stands for it is the kubelet's business
	want := r.skeleton()
	return want.Host, want.Pod
}
