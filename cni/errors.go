package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/vpp-cni/vpp-cni/schema"
	"github.com/vpp-cni/vpp-cni/schema/store"
)

var (
	// errSignal is the cause of a call's end by SIGTERM or SIGINT.
	errSignal = errors.New("the plugin was told to end (SIGTERM or SIGINT)")
	// errTimeout is the cause of a call's end by its time-out.
	errTimeout = errors.New("the call's time is over")
)

// fail is an error of the CNI specification, section "Error". The code is one
// of its well-known codes.
func fail(code uint, msg string, err error) *types.Error {
	e := &types.Error{Code: code, Msg: msg}
	if err != nil {
		e.Details = strings.ReplaceAll(err.Error(), "\n", "; ") // errors that are joined stand in lines
	}
	return e
}

// asError gives err a CNI code: its own if it has one, else the code of what
// went wrong.
func asError(err error) *types.Error {
	var e *types.Error
	if errors.As(err, &e) {
		return e
	}
	return fail(codeOf(err), "the call failed", err)
}

// codeOf is the CNI code of an error: 7 for a field that is not allowed and for
// an etcd that refuses its user, 11 for what may go away by itself, else 999.
func codeOf(err error) uint {
	var field *schema.FieldError
	switch {
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrConflict),
		errors.Is(err, errSignal), errors.Is(err, errTimeout),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return types.ErrTryAgainLater
	case errors.As(err, &field), errors.Is(err, store.ErrDenied):
		return types.ErrInvalidNetworkConfig
	default:
		return types.ErrInternal
	}
}

// storeError says what could not be done in etcd.
func storeError(msg string, err error) *types.Error {
	return fail(codeOf(err), msg, err)
}

// withCleanup adds to e what went wrong when its traces were removed.
func withCleanup(e *types.Error, cleanup error) *types.Error {
	if cleanup == nil {
		return e
	}
	out := *e
	if out.Details != "" {
		out.Details += "; "
	}
	out.Details += "then, cleaning up: " + cleanup.Error()
	return &out
}

// printError writes an error answer (CNI specification, section "Error") and
// returns the exit code.
func printError(w io.Writer, cniVersion string, e *types.Error) int {
	answer := struct {
		CNIVersion string `json:"cniVersion,omitempty"`
		Code       uint   `json:"code"`
		Msg        string `json:"msg"`
		Details    string `json:"details,omitempty"`
	}{cniVersion, e.Code, e.Msg, e.Details}
	data, err := json.MarshalIndent(answer, "", "    ")
	if err == nil {
		_, _ = w.Write(append(data, '\n'))
	}
	return 1
}

// decodeError reads an error answer of another plugin.
func decodeError(data []byte) (*types.Error, error) {
	e := &types.Error{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, err
	}
	if e.Msg == "" && e.Code == 0 {
		return nil, errors.New("no code and no message")
	}
	return e, nil
}
