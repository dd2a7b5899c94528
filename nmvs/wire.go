package nmvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
)

// wire is a TCP connection that knows whether bytes of the present request may
// have left, and can be told to let no more out. HTTP/1.1 has one request at a
// time on a connection, so one mark is enough.
type wire struct {
	net.Conn

	mu      sync.Mutex // not held across I/O
	sealed  bool
	writing bool
	marked  bool // something was handed to the kernel since mark
}

var errSealed = errors.New("connection was given up")

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.sealed {
		w.mu.Unlock()
		return 0, errSealed
	}
	w.writing = true
	w.mu.Unlock()
	n, err := w.Conn.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
	if n > 0 {
		w.marked = true
	}
	return n, err
}

// mark forgets what was written so far: the request starts now.
func (w *wire) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marked = w.writing
}

// seal lets no further byte out, and says whether any may have left since mark.
func (w *wire) seal() (touched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
	return w.marked || w.writing
}

// wireOf finds the wire below TLS.
func wireOf(c net.Conn) *wire {
	for {
		switch t := c.(type) {
		case *wire:
			return t
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return nil
		}
	}
}

// Where a request stands.
type phase uint8

const (
	waiting  phase = iota // no connection yet
	guarding              // the guard runs
	passed                // bytes may leave
	refused               // the guard said no
	stopped               // given up before the guard had passed it
)

// request is the body of one HTTP request. Its first Read, which the Transport
// does when a connection is ready and while the headers are still in its own
// buffer, calls the guard.
type request struct {
	guard  func() error
	onPass func() // starts the wait for the answer

	mu     sync.Mutex // guards the rest; not held while the guard runs
	phase  phase
	buf    *[]byte // nil once given back
	off    int
	conn   *wire
	reused bool
	err    error         // the guard's
	done   chan struct{} // closed when the guard has returned
}

func newRequest(buf *[]byte, guard func() error, onPass func()) *request {
	return &request{guard: guard, onPass: onPass, buf: buf, done: make(chan struct{})}
}

// trace remembers which connection the Transport chose.
func (r *request) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.conn, r.reused = wireOf(i.Conn), i.Reused
	}})
}

// Read is called by the Transport only.
func (r *request) Read(p []byte) (int, error) {
	if err := r.pass(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		return 0, ErrStopped
	}
	if r.off == len(*r.buf) {
		return 0, io.EOF
	}
	n := copy(p, (*r.buf)[r.off:])
	r.off += n
	return n, nil
}

// pass runs the guard on the first Read, and decides in one step whether bytes
// may leave: a stop that came meanwhile wins.
func (r *request) pass() (err error) {
	r.mu.Lock()
	switch r.phase {
	case passed:
		r.mu.Unlock()
		return nil
	case waiting:
	default:
		defer r.mu.Unlock()
		if r.err != nil {
			return r.err
		}
		return ErrStopped
	}
	r.phase = guarding
	r.mu.Unlock()

	returned := false
	defer func() { // also when the guard panics or ends its goroutine: nothing is written
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case r.phase == stopped:
			err = ErrStopped
		case !returned:
			r.phase, r.err = refused, fmt.Errorf("%w: it did not return", ErrGuard)
			err = r.err
		case err != nil:
			r.phase, r.err = refused, err
		default:
			r.phase = passed
			if r.conn != nil {
				r.conn.mark()
			}
			r.onPass()
		}
		close(r.done)
	}()
	err = r.ask()
	returned = true
	return err
}

func (r *request) ask() error {
	if r.guard == nil {
		return nil
	}
	if err := r.guard(); err != nil {
		return fmt.Errorf("%w: %w", ErrGuard, err)
	}
	return nil
}

// Close is called by the Transport, maybe late and more than once. The buffer is
// given back by release only.
func (r *request) Close() error { return nil }

// sent tells what may have left, after the call has failed: nothing can leave any
// more when it returns. It waits for a guard that is still running.
func (r *request) sent() (may bool, guardErr error) {
	r.mu.Lock()
	switch r.phase {
	case waiting:
		r.phase = stopped
	case guarding:
		r.phase = stopped
		r.mu.Unlock()
		<-r.done
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	switch r.phase {
	case passed:
		return r.conn == nil || r.conn.seal(), nil
	case refused:
		return false, r.err
	}
	return false, nil
}

// letPass says whether the guard has let the request pass.
func (r *request) letPass() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase == passed
}

// fresh says that the connection carried nothing before this request.
func (r *request) fresh() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.reused
}

// release takes the buffer back. A late Read finds none.
func (r *request) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf != nil {
		giveBuffer(r.buf)
		r.buf = nil
	}
}

// buffers holds request buffers; big ones are left to the collector.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 4<<10)) }}

const keepBuffer = 1 << 20

func takeBuffer() *[]byte { return buffers.Get().(*[]byte) }

// giveBuffer puts a buffer back, without what it held: there is a password in it.
func giveBuffer(b *[]byte) {
	if cap(*b) > keepBuffer {
		return
	}
	clear((*b)[:cap(*b)])
	*b = (*b)[:0]
	buffers.Put(b)
}
