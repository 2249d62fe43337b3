package vpp

import (
	"errors"
	"fmt"
	"strings"

	"go.fd.io/govpp/api"
)

// ErrDown says that VPP is not connected, went away during a call or does not
// answer. The call may be tried again when VPP is back.
var ErrDown = errors.New("VPP is down")

var errNotYet = fmt.Errorf("%w: not connected yet", ErrDown)

// RetvalError is VPP's refusal of one call.
type RetvalError struct {
	// Op is the message, such as memif_create_v2.
	Op string
	// Retval is the number of VPP's src/vnet/error.h.
	Retval int32
}

func (e *RetvalError) Error() string {
	name := api.VPPApiError(e.Retval).Error()
	return fmt.Sprintf("%s: VPP refused: %s", e.Op, strings.TrimPrefix(name, "VPPApiError: "))
}

// IncompatibleError lists the messages that this VPP lacks or has in another
// form; both look the same over the API.
type IncompatibleError struct {
	// Missing are message names with CRC, as name_crc.
	Missing []string
}

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("VPP lacks %d messages that are needed, or has other versions of them (a plugin that is not loaded, or not VPP 25.10): %s",
		len(e.Missing), strings.Join(e.Missing, ", "))
}

// terminalError marks an object that VPP must not be asked for: trying again
// does not help until what is wanted changes.
type terminalError struct{ msg string }

func (e *terminalError) Error() string { return e.msg }

func terminal(format string, args ...any) error {
	return &terminalError{msg: fmt.Sprintf(format, args...)}
}

// terminalRetvals are refusals that depend on nothing that can change while
// VPP runs.
var terminalRetvals = map[api.VPPApiError]bool{
	api.UNIMPLEMENTED: true,
	api.UNSUPPORTED:   true,
}

// Terminal says whether a failed Put or Delete fails in the same way again as
// long as the same is wanted. Everything else may be tried again.
func Terminal(err error) bool {
	var t *terminalError
	if errors.As(err, &t) {
		return true
	}
	var r *RetvalError
	return errors.As(err, &r) && terminalRetvals[api.VPPApiError(r.Retval)]
}

// isRetval says whether VPP refused with one of these.
func isRetval(err error, codes ...api.VPPApiError) bool {
	var r *RetvalError
	if !errors.As(err, &r) {
		return false
	}
	for _, c := range codes {
		if r.Retval == int32(c) {
			return true
		}
	}
	return false
}

// stale says whether VPP does not know an index that we believed in.
func stale(err error) bool {
	return errors.Is(err, errUnknownInterface) || errors.Is(err, errOutdated) ||
		isRetval(err, api.INVALID_SW_IF_INDEX, api.INVALID_SW_IF_INDEX_2, api.INVALID_INTERFACE)
}

// errUnknownInterface says that no interface carries the tag.
var errUnknownInterface = errors.New("no such interface in VPP")

// errOutdated says that VPP is not as the last dump had it.
var errOutdated = errors.New("VPP has changed since it was read")
