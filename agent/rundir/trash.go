package rundir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

const (
	// trashDir is where directories wait to be emptied, beside the pods'. No pod
	// has such a name.
	trashDir = ".trash"
	// few is how many files a directory may have to be removed at once.
	few = 256
	// batch is how many names are read at a time.
	batch = 512
	// pause between two batches leaves the disk and the processor to others.
	pause = time.Millisecond
	// again is how long what could not be removed is left alone.
	again = time.Minute
	// inPlaceTime bounds a removal that somebody waits for.
	inPlaceTime = 2 * time.Second
)

// trash removes directories, however large, deep or stubborn their content. It
// uses two file descriptors whatever the depth: what is in a subdirectory is
// moved up, so every entry is touched twice at most. It does not walk into a
// mount, and what cannot be removed stays here.
type trash struct {
	open func() (*os.File, error) // the pods' directory
	log  *logrus.Entry

	ctx   context.Context // the life of the background work
	stop  context.CancelFunc
	mu    sync.Mutex // guards what follows
	busy  bool
	rest  time.Time // before it, nothing is tried again
	group sync.WaitGroup
}

func newTrash(open func() (*os.File, error), log *logrus.Entry) *trash {
	ctx, stop := context.WithCancel(context.Background())
	return &trash{open: open, log: log, ctx: ctx, stop: stop}
}

func (t *trash) close() {
	t.mu.Lock()
	t.stop()
	t.mu.Unlock()
	t.group.Wait()
}

// remove takes a pod's directory away.
func (t *trash) remove(ctx context.Context, pods *os.File, name string) error {
	if quick(pods, name) == nil {
		return nil
	}
	return t.take(ctx, pods, pods, name)
}

// quick removes what a directory usually is: a few files. Nothing is waited for.
func quick(pods *os.File, name string) error {
	err := unix.Unlinkat(fd(pods), name, 0) // no directory: a link, not followed
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	dir, err := openDir(pods, name, unix.RESOLVE_NO_XDEV)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(few)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, n := range names {
		if err := unix.Unlinkat(fd(dir), n, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return unix.Unlinkat(fd(pods), name, unix.AT_REMOVEDIR)
}

// take moves name out of from into the trash, which is emptied beside the other
// work. Where there is no room for a directory of its own the trash is done
// without.
func (t *trash) take(ctx context.Context, pods, from *os.File, name string) error {
	err := unix.Mkdirat(fd(pods), trashDir, 0o700)
	if err == nil || errors.Is(err, unix.EEXIST) {
		err = t.move(pods, from, name)
	}
	switch {
	case err == nil:
		t.mu.Lock()
		t.rest = time.Time{}
		t.mu.Unlock()
		t.wake()
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return t.inPlace(ctx, from, name)
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EBUSY):
		return fmt.Errorf("something is mounted there, unmount it: %w", err)
	}
	return err
}

func (t *trash) move(pods, from *os.File, name string) error {
	to, err := openDir(pods, trashDir, 0)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	err = unix.Renameat(fd(from), name, fd(to), rand.Text())
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// inPlace empties a directory where it stands.
func (t *trash) inPlace(ctx context.Context, from *os.File, name string) error {
	dir, err := openDir(from, name, unix.RESOLVE_NO_XDEV)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err = claim(dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, inPlaceTime)
	defer cancel()
	if err = t.empty(ctx, dir); err != nil {
		return err
	}
	return unix.Unlinkat(fd(from), name, unix.AT_REMOVEDIR)
}

// wake empties the trash in the background.
func (t *trash) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy || t.ctx.Err() != nil || time.Now().Before(t.rest) {
		return
	}
	t.busy = true
	t.group.Go(func() {
		err := t.work()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy = false
		if err == nil || t.ctx.Err() != nil {
			return
		}
		t.rest = time.Now().Add(again)
		t.log.WithField("err", err).Warn("what a pod has left in its directory cannot be removed")
	})
}

// work empties the trash and removes it. What comes into it meanwhile keeps it.
func (t *trash) work() error {
	pods, err := t.open()
	if err != nil {
		return err
	}
	defer func() { _ = pods.Close() }()
	dir, err := openDir(pods, trashDir, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err = t.empty(t.ctx, dir); err != nil {
		return err
	}
	err = unix.Unlinkat(fd(pods), trashDir, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// empty removes all that is in dir, until a pass finds nothing that it can
// remove.
func (t *trash) empty(ctx context.Context, dir *os.File) error {
	lift := lifter{to: dir, prefix: rand.Text()}
	for {
		done, stuck, err := t.pass(ctx, &lift)
		switch {
		case err != nil:
			return err
		case stuck == nil && done == 0:
			return nil
		case done == 0:
			return stuck
		}
	}
}

// pass goes through dir once. It says how much it has removed or moved, and why
// something stayed.
func (t *trash) pass(ctx context.Context, lift *lifter) (done int, stuck, err error) {
	if _, err = lift.to.Seek(0, io.SeekStart); err != nil {
		return 0, nil, err
	}
	for {
		names, err := lift.to.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			return done, stuck, nil
		}
		if err != nil {
			return done, stuck, err
		}
		for _, name := range names {
			n, err := lift.remove(name)
			done += n
			if err != nil {
				stuck = fmt.Errorf("%q stays: %w", name, err)
			}
		}
		select {
		case <-ctx.Done():
			return done, stuck, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// lifter removes the entries of a directory, and moves up what is below them.
type lifter struct {
	to     *os.File
	prefix string
	count  uint64
}

// remove takes one entry away, and what is below it for as long as a batch
// lasts.
func (l *lifter) remove(name string) (done int, stuck error) {
	work := []string{name}
	for len(work) > 0 && done < batch {
		last := len(work) - 1
		lifted, n, err := l.step(work[last])
		done += n
		switch {
		case n == 0:
			return done, err
		case lifted == nil && err == nil:
			work = work[:last]
		default: // what was below it, and then itself
			work = append(work, lifted...)
		}
	}
	return done, nil
}

// step removes an entry, or some of what is in it: n counts what is removed or
// moved up, lifted names what is moved up.
func (l *lifter) step(name string) (lifted []string, n int, err error) {
	err = unix.Unlinkat(fd(l.to), name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(fd(l.to), name, unix.AT_REMOVEDIR)
	}
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil, 1, nil
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return l.lift(name)
	}
	return nil, 0, err
}

// lift goes through a directory until a batch in which something could be removed
// or moved up. lifted is never nil with a nil error: the directory is still there.
func (l *lifter) lift(name string) (lifted []string, n int, err error) {
	dir, err := openDir(l.to, name, unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = dir.Close() }()
	if err = claim(dir); err != nil {
		return nil, 0, err
	}
	lifted = []string{}
	var stuck error
	for n == 0 {
		children, err := dir.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return lifted, n, err
		}
		for _, child := range children {
			to, err := l.raise(dir, child)
			switch {
			case err != nil:
				stuck = err
				continue
			case to != "":
				lifted = append(lifted, to)
			}
			n++
		}
	}
	return lifted, n, stuck
}

// raise removes a child of dir, or moves it up, and then says under what name. A
// file needs no move, and a disk that is full may not allow one.
func (l *lifter) raise(dir *os.File, child string) (to string, err error) {
	err = unix.Unlinkat(fd(dir), child, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return "", err
	}
	l.count++
	to = l.prefix + strconv.FormatUint(l.count, 36)
	return to, unix.Renameat(fd(dir), child, fd(l.to), to)
}
