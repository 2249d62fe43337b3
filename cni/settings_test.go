package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const nodeFile = "node: from-file\nprefix: /from-file\nmtu: 1400\ntimeout: 3s\nrunDir: /run/x\nlogDir: /var/log/cni\n" +
	"etcd:\n  endpoints: [https://etcd-1:2379, https://etcd-2:2379]\n  cacert: /ca\n  user: u\n  passwordFile: /p\n"

func nodeFileOf(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func settingsOf(t *testing.T, conf, env string, lenient bool) (string, settings, error) {
	t.Helper()
	c, err := parseConfig([]byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSettings(c, func(string) string { return env }, func() (string, error) { return "host-name", nil }, lenient)
	return fmt.Sprintf("%s %s %d %s %s ca=%s user=%s prefix=%s", s.node, s.runDir, s.mtu, s.timeout, s.etcd.Endpoints, s.etcd.CACert, s.etcd.User, s.etcd.Prefix), s, err
}

func TestSettings(t *testing.T) {
	t.Parallel()
	file := nodeFileOf(t, "config.yaml", nodeFile)
	open := nodeFileOf(t, "open.yaml", nodeFile+"networkMayOverride: true\n")
	const ofFile = "from-file /run/x 1400 3s [https://etcd-1:2379 https://etcd-2:2379] ca=/ca user=u prefix=/from-file"
	for name, tc := range map[string]struct{ conf, env, want, wantErr string }{
		"nothing given":               {`{"name":"n"}`, "", "host-name /run/vpp-cni 0 10s [http://127.0.0.1:2379] ca= user= prefix=", ""},
		"file by environment":         {`{"name":"n"}`, file, ofFile, ""},
		"file by field":               {`{"name":"n","configFile":"` + file + `"}`, "", ofFile, ""},
		"field over the environment":  {`{"name":"n","configFile":"` + file + `"}`, open, ofFile, ""},
		"no file, the network's word": {`{"name":"n","node":"mine","prefix":"/mine","etcd":{"endpoints":["https://o:1"],"cacert":"/c"}}`, "", "mine /run/vpp-cni 0 10s [https://o:1] ca=/c user= prefix=/mine", ""},
		"network comes first, if it may": {
			`{"name":"n","node":"mine","timeout":"1s","prefix":"/mine"}`, open,
			"mine /run/x 1400 1s [https://etcd-1:2379 https://etcd-2:2379] ca=/ca user=u prefix=/mine", "",
		},
		"other etcd, no foreign login": {`{"name":"n","etcd":{"endpoints":["http://other:2379"]}}`, open, "from-file /run/x 1400 3s [http://other:2379] ca= user= prefix=/from-file", ""},
		"the same in other words":      {`{"name":"n","node":"from-file","prefix":"/from-file","configFile":"` + file + `","etcd":{"endpoints":["https://etcd-2:2379","https://etcd-1:2379"],"cacert":"/ca","user":"u","passwordFile":"/p"}}`, file, ofFile, ""},
		"nothing in etcd":              {`{"name":"n","etcd":{}}`, file, ofFile, ""},
		"file missing":                 {`{"name":"n"}`, "/does/not/exist", "", "configuration file"},
		"unknown in etcd":              {`{"name":"n","etcd":{"endpoint":"x"}}`, "", "", "etcd.endpoint is not known"},
		"timeout without unit":         {`{"name":"n","timeout":"10"}`, "", "", "timeout"},
		"timeout too short":            {`{"name":"n","timeout":"1ms"}`, "", "", "timeout"},
		"node that is a path":          {`{"name":"n","node":"a/b"}`, "", "", "node"},
	} {
		got, _, err := settingsOf(t, tc.conf, tc.env, false)
		if tc.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) || asError(err).Code != 7 {
				t.Errorf("%s: got %v, want error 7 with %q", name, err, tc.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

// TestNetworkMayNotOverride: where the node has a file, a network configuration
// cannot have the node's credentials, or any file as a password, sent to another
// etcd, nor act as another node. A DEL goes by the node's file.
func TestNetworkMayNotOverride(t *testing.T) {
	t.Parallel()
	file := nodeFileOf(t, "config.yaml", nodeFile)
	other := nodeFileOf(t, "other.yaml", nodeFile)
	own, _, err := settingsOf(t, `{"name":"n"}`, file, false)
	if err != nil {
		t.Fatal(err)
	}
	for field, conf := range map[string]string{
		"configFile":        `"configFile":"` + other + `"`,
		"node":              `"node":"node-2"`,
		"prefix":            `"prefix":"/vpp-cni"`,
		"etcd.endpoints":    `"etcd":{"endpoints":["https://attacker:2379"]}`,
		"etcd.cacert":       `"etcd":{"cacert":"/etc/shadow"}`,
		"etcd.cert":         `"etcd":{"cert":"/etc/shadow"}`,
		"etcd.key":          `"etcd":{"key":"/etc/shadow"}`,
		"etcd.user":         `"etcd":{"user":"root"}`,
		"etcd.passwordFile": `"etcd":{"passwordFile":"/etc/shadow"}`,
		"etcd.token":        `"etcd":{"token":"x"}`,
	} {
		conf = `{"name":"n",` + conf + `}`
		_, _, err := settingsOf(t, conf, file, false)
		if err == nil || asError(err).Code != 7 || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v, want error 7 that names it", field, err)
		}
		got, s, err := settingsOf(t, conf, file, true)
		if err != nil || got != own || s.ignored == nil || s.etcd.PasswordFile != "/p" {
			t.Errorf("%s, call that removes: %v, %s, ignored: %v: want the node's own settings", field, err, got, s.ignored)
		}
	}
}

// TestCredentialsStayTogether: no source's credentials go to another's endpoints.
func TestCredentialsStayTogether(t *testing.T) {
	t.Parallel()
	open := nodeFileOf(t, "open.yaml", nodeFile+"networkMayOverride: true\n")
	for field, etcd := range map[string]string{
		"etcd.cacert": `{"cacert":"/x"}`, "etcd.cert": `{"cert":"/x"}`, "etcd.key": `{"key":"/x"}`,
		"etcd.user": `{"user":"x"}`, "etcd.passwordFile": `{"passwordFile":"/x"}`,
	} {
		for _, env := range []string{"", open} {
			if _, _, err := settingsOf(t, `{"name":"n","etcd":`+etcd+`}`, env, false); err == nil || asError(err).Code != 7 || !strings.Contains(err.Error(), field) {
				t.Errorf("%s without endpoints: %v, want error 7 that names it", field, err)
			}
		}
	}
	_, s, err := settingsOf(t, `{"name":"n","etcd":{"endpoints":["https://other:1"]}}`, open, false)
	if err != nil || s.etcd.CACert+s.etcd.User+s.etcd.PasswordFile != "" {
		t.Errorf("%v, %+v: want none of the file's credentials for another etcd", err, s.etcd)
	}
}

// TestNamedFileIsNotShown: errors do not tell what stands in a file that a
// network configuration names.
func TestNamedFileIsNotShown(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a key":       "treasure: 1\n",
		"a value":     "node: treasure/\n",
		"an endpoint": "etcd: {endpoints: ['treasure x']}\n",
		"no YAML":     "treasure: [\n",
		"plain text":  "treasure\n",
		"a duration":  "timeout: treasure\n",
	} {
		path := nodeFileOf(t, "file", text)
		_, _, err := settingsOf(t, `{"name":"n","configFile":"`+path+`"}`, "", false)
		if err == nil || asError(err).Code != 7 || strings.Contains(err.Error(), "treasure") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v: want error 7 with the file's name and nothing of its content", name, err)
		}
	}
	if _, _, err := settingsOf(t, `{"name":"n","configFile":"/does/not/exist"}`, "", false); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("missing file: %v", err)
	}
}
