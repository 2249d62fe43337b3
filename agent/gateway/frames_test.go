package gateway

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// TestFrames: frames and streams are counted however the bytes come in.
func TestFrames(t *testing.T) {
	t.Parallel()
	b := bytes.NewBufferString(http2.ClientPreface)
	f := http2.NewFramer(b, nil)
	const want = 20
	for i := range uint32(want) {
		for _, err := range []error{
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}),
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: make([]byte, i), PadLength: uint8(i)}),
			f.WriteContinuation(2*i+1, true, make([]byte, i)),
			f.WriteData(2*i+1, true, bytes.Repeat([]byte{byte(http2.FrameHeaders)}, int(100*i))),
			f.WriteRSTStream(2*i+1, http2.ErrCodeCancel),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for size := 1; size < 100; size++ {
		all, got, f := 0, 0, frames{}
		for rest := b.Bytes(); len(rest) > 0; {
			n := min(size, len(rest))
			a, s := f.count(rest[:n])
			all, got = all+a, got+s
			rest = rest[n:]
		}
		if all != 5*want || got != want {
			t.Errorf("%d frames, %d streams in pieces of %d bytes, want %d, %d", all, got, size, 5*want, want)
		}
	}
}
