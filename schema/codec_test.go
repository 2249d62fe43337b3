package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vpp-cni/vpp-cni/schema"
)

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"nothing", "", "the value is empty"},
		{"white space", " \n", "the value is empty"},
		{"half of it", `{"vrf":`, "unexpected EOF"},
		{"another type", `{"vrf":"ten"}`, "cannot unmarshal string"},
		{"a negative number", `{"vrf":-1}`, "cannot unmarshal number"},
		{"a large number", `{"vrf":4294967296}`, "cannot unmarshal number"},
		{"an array", `[]`, "cannot unmarshal array"},
		{"null", `null`, "the value is null"},
		{"two values", `{} {}`, "text after the value"},
		{"text after it", `{}x`, "text after the value"},
		{"too long", `{"vrf":1` + strings.Repeat(" ", schema.MaxValue) + `}`, "at most 65536"},
		{"deep", strings.Repeat("[", 10000), "decode schema.Network"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := schema.Decode[schema.Network]([]byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want it to say %q", err, tt.want)
			}
			if v != (schema.Network{}) {
				t.Errorf("value %+v beside an error, want none", v)
			}
		})
	}
}

func TestUnknownFieldIsNamed(t *testing.T) {
	for data, want := range map[string]string{
		`{"future":1}`:                     "future",
		`{"memif":{"role":"x","rings":2}}`: "rings",
		`{"a\"b":1}`:                       `a"b`,
	} {
		_, err := schema.Decode[schema.HostInterface]([]byte(data))
		var unknown *schema.UnknownFieldError
		if !errors.As(err, &unknown) || unknown.Field != want {
			t.Errorf("%s: error %v, want field %s named", data, err, want)
		}
	}
}

// TestReportsOfANewerAgent: what is asked for is understood whole or not at all;
// what is told is read as far as it goes.
func TestReportsOfANewerAgent(t *testing.T) {
	st, err := schema.Decode[schema.InterfaceStatus]([]byte(`{"specRevision":7,"state":"Ready","future":{"a":[1]},"reason":"Applied"}`))
	if err != nil || st.SpecRevision != 7 || st.State != schema.Ready || st.Reason != schema.ReasonApplied {
		t.Errorf("status %+v, %v, want what is known of it", st, err)
	}
	info, err := schema.Decode[schema.AgentInfo]([]byte(`{"node":"n","future":1,"ready":true}`))
	if err != nil || info.Node != "n" || !info.Ready {
		t.Errorf("presence %+v, %v, want what is known of it", info, err)
	}
	_, host := schema.Decode[schema.HostInterface]([]byte(`{"future":1}`))
	_, pod := schema.Decode[schema.PodInterface]([]byte(`{"future":1}`))
	_, network := schema.Decode[schema.Network]([]byte(`{"future":1}`))
	_, release := schema.Decode[schema.Release]([]byte(`{"future":1}`))
	for _, err := range []error{host, pod, network, release} {
		var unknown *schema.UnknownFieldError
		if !errors.As(err, &unknown) {
			t.Errorf("error %v, want the unknown field named", err)
		}
	}
}

// TestSecretIsNeverPrinted: whatever prints a value in a log or an error, the
// secret is not in it.
func TestSecretIsNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	end := schema.MemifEnd{Secret: schema.NewSecret(secret)}
	type inside struct{ end schema.MemifEnd } // fmt asks no method of what is in here
	host, pod := full()
	host.Memif, pod.Memif = &end, &end
	for name, v := range map[string]any{
		"Secret": schema.NewSecret(secret), "*Secret": &end.Secret, "MemifEnd": end, "*MemifEnd": &end,
		"slice": []schema.MemifEnd{end}, "map": map[string]schema.Secret{"k": schema.NewSecret(secret)},
		"unexported": inside{end}, "*unexported": &inside{end},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%5.1s"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, secret) || strings.Contains(strings.ToLower(got), "68756e74657232") {
				t.Errorf("%s with %s prints %s", name, verb, got)
			}
		}
	}
	if got := fmt.Sprintf("%+v %+v", host, pod); strings.Contains(got, secret) {
		t.Errorf("a value prints %s", got)
	}
	if err := schema.CheckSecret("memif.secret", schema.NewSecret(strings.Repeat(secret, 4))); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v, want one without the secret", err)
	}
	data, err := json.Marshal(end)
	if err != nil || !strings.Contains(string(data), `"secret":"hunter2"`) {
		t.Errorf("JSON %s, %v: want the bytes, which go to etcd", data, err)
	}
}
