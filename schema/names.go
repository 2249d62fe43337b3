package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Node is a node's name: a Kubernetes node name or a host name, at most 253
// characters of letters, digits, '.', '-' and '_', starting and ending with a
// letter or digit.
type Node string

// ContainerID is CNI_CONTAINERID: letters, digits, '_', '.' and '-', starting
// with a letter or digit (CNI specification, "Parameters"), at most 128
// characters here.
type ContainerID string

// PodID names a pod's subtree: the pod's UID, or the container id where the
// runtime gives no UID. It has the form of a ContainerID.
type PodID string

// IfName is CNI_IFNAME: 1 to 15 characters (Linux IFNAMSIZ less the final
// NUL), no '/', ':' or white space, not "." or "..".
type IfName string

// NetworkName is the name of a CNI network: letters, digits, '_', '.' and '-',
// starting with a letter or digit (CNI specification, "Network configuration
// format"), at most 253 characters here.
type NetworkName string

const (
	maxNode        = 253
	maxContainerID = 128
	maxIfName      = 15
	maxNetworkName = 253
)

var (
	nodePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	cniPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
)

// Validate says whether n can be part of a key.
func (n Node) Validate() error {
	return checkName("node", string(n), maxNode, nodePattern,
		"letters, digits, '.', '-' and '_', starting and ending with a letter or digit")
}

// Validate says whether c can be part of a key and of a file path.
func (c ContainerID) Validate() error {
	return checkName("container id", string(c), maxContainerID, cniPattern,
		"letters, digits, '_', '.' and '-', starting with a letter or digit")
}

// Validate says whether p can be part of a key and of a file path.
func (p PodID) Validate() error {
	return checkName("pod id", string(p), maxContainerID, cniPattern,
		"letters, digits, '_', '.' and '-', starting with a letter or digit")
}

// Validate says whether n can be part of a key.
func (n NetworkName) Validate() error {
	return checkName("network name", string(n), maxNetworkName, cniPattern,
		"letters, digits, '_', '.' and '-', starting with a letter or digit")
}

// Validate says whether i can be part of a key and of a file name.
func (i IfName) Validate() error {
	const allowed = "1 to 15 printable ASCII characters without '/', ':' and white space, not \".\" or \"..\""
	s := string(i)
	if s == "" || len(s) > maxIfName || s == "." || s == ".." {
		return &FieldError{Field: "interface name", Value: s, Allowed: allowed}
	}
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '/' || r == ':' {
			return &FieldError{Field: "interface name", Value: s, Allowed: allowed}
		}
	}
	return nil
}

func checkName(field, s string, limit int, pattern *regexp.Regexp, allowed string) error {
	if s == "" || len(s) > limit || !pattern.MatchString(s) {
		return &FieldError{Field: field, Value: s, Allowed: fmt.Sprintf("1 to %d %s", limit, allowed)}
	}
	return nil
}

// FieldError is a value that a field does not allow. It names the field, the
// value as given (shortened when long) and what is allowed.
type FieldError struct {
	Field   string
	Value   string
	Allowed string
}

func (e *FieldError) Error() string {
	v := e.Value
	if len(v) > 80 {
		v = v[:80] + "…"
	}
	return e.Field + " " + strconv.Quote(strings.ToValidUTF8(v, "�")) + " is not allowed: " + e.Allowed
}
