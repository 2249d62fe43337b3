package gateway

import (
	"time"

	"golang.org/x/net/http2"
)

// frames finds the frames in the bytes that a client sends, and the streams that
// begin with them. grpc shows the gateway only those that have become requests: one
// that is reset at once, or is wrong in its first bytes, costs nearly as much.
type frames struct {
	head []byte // of a frame, as far as it has come (RFC 9113, section 4.1)
	skip int    // bytes until the next head
	past bool   // the client's preface
}

const (
	// headLength is that of a frame's head.
	headLength = 9
	// frameBytes is what each frame counts as beside its bytes: a frame of one byte
	// makes grpc keep a hundred, and work as for a long one. A request is two or
	// three frames.
	frameBytes = 512
)

// count says how many frames, and how many streams, begin in the next bytes.
func (f *frames) count(b []byte) (all, streams int) {
	if !f.past {
		f.past, f.skip = true, len(http2.ClientPreface)
	}
	for len(b) > 0 {
		if f.skip > 0 {
			payload := min(f.skip, len(b))
			f.skip -= payload
			b = b[payload:]
			continue
		}
		rest := min(headLength-len(f.head), len(b))
		f.head = append(f.head, b[:rest]...)
		b = b[rest:]
		if len(f.head) < headLength {
			break
		}
		f.skip = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
		all++
		if http2.FrameType(f.head[3]) == http2.FrameHeaders {
			streams++
		}
		f.head = f.head[:0]
	}
	return all, streams
}

// streamPrice is what of a pod's bytes a stream takes beside its own, so that no
// more than twice as many can be begun as requests are answered.
func streamPrice(l Limits) int {
	return min(int(float64(l.Bytes)/(2*l.Requests)), byteBurst)
}

// charge takes bytes and streams from what a pod may send, and says how long the
// pod waits until it may send more.
func (p *pod) charge(bytes, streams int) time.Duration {
	now := time.Now()
	// A limiter gives no more than its burst at once.
	wait := p.bytes.ReserveN(now, min(bytes, p.bytes.Burst())).DelayFrom(now)
	for range streams {
		wait = p.bytes.ReserveN(now, p.price).DelayFrom(now)
	}
	return wait
}
