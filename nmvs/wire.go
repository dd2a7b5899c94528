package nmvs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
	"time"
)

// wire is a TCP connection, below TLS, that lets no byte of a request out
// before the request's guard has let it pass, knows whether any left, and can be
// sealed. net/http gives no such promise: it writes the headers before it reads
// the body, and may still write after RoundTrip has returned. HTTP/1.1 has one
// request at a time on a connection, so one place is enough.
type wire struct {
	net.Conn

	mu      sync.Mutex // guards the rest; not held across I/O or the guard
	request *request   // nil while the connection is made
	sealed  bool
	writing bool
	touched bool // bytes were handed to the kernel since the request came
}

var errSealed = errors.New("connection was given up")

// Write asks the guard of the request first. Its first call for a request comes
// when TLS is established and the request is about to leave.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	r := w.request
	w.mu.Unlock()
	if r != nil {
		if err := r.pass(); err != nil {
			return 0, err
		}
	}
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
	w.touched = w.touched || n > 0
	return n, err
}

// carry starts a new request on the connection.
func (w *wire) carry(r *request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.request, w.touched = r, w.writing
}

// seal lets no further byte out, and says whether any may have left.
func (w *wire) seal() (touched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
	return w.touched || w.writing
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

// request is one HTTP request on its way out.
type request struct {
	guard  func() error
	onPass func() // starts the wait for the answer; called under mu

	mu     sync.Mutex // guards the rest; not held while the guard runs
	phase  phase
	conn   net.Conn
	reused bool
	wrote  bool          // the Transport does not read the body any more
	err    error         // the guard's
	done   chan struct{} // closed when the guard has returned
}

func newRequest(guard func() error, onPass func()) *request {
	return &request{guard: guard, onPass: onPass, done: make(chan struct{})}
}

// trace puts the request on the connection that the Transport chooses for it.
func (r *request) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			r.mu.Lock()
			r.conn, r.reused = i.Conn, i.Reused
			r.mu.Unlock()
			if w := wireOf(i.Conn); w != nil {
				w.carry(r)
			}
		},
		WroteRequest: func(httptrace.WroteRequestInfo) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.wrote = true
		},
	})
}

// pass runs the guard on its first call, and decides in one step whether bytes may
// leave: a stop that came meanwhile wins. Only the connection's writer calls it.
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
		w := wireOf(r.conn)
		return w == nil || w.seal(), nil
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

// firstOnConn says that the connection carried nothing before this request.
func (r *request) firstOnConn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.reused
}

// bufferFree says that nobody reads the rendered bytes any more.
func (r *request) bufferFree() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrote || r.conn == nil
}

// lastWord returns the error that ended the TLS connection's reading side. When a
// write failed, the server may have said why before it closed: crypto/tls keeps
// that alert.
func (r *request) lastWord() error {
	r.mu.Lock()
	c, ok := r.conn.(*tls.Conn)
	r.mu.Unlock()
	if !ok {
		return nil
	}
	_ = c.SetReadDeadline(time.Now()) // the connection is given up: whatever reads it shall end
	_, err := c.Read(make([]byte, 1))
	return err
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
