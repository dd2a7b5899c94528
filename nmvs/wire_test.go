package nmvs

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a connection that counts writes.
type sink struct {
	net.Conn
	n   int
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.n += len(p)
	return len(p), nil
}

func nothing() {}

func TestASealedConnectionLetsNoByteOut(t *testing.T) {
	s := &sink{}
	w := &wire{Conn: s}
	if _, err := w.Write([]byte("hello")); err != nil || s.n != 5 { // the handshake has no guard
		t.Fatalf("%v, %d bytes", err, s.n)
	}
	w.carry(newRequest(nil, nothing))
	if w.seal() {
		t.Error("bytes of the handshake count as the request's")
	}
	if n, err := w.Write([]byte("late")); n != 0 || !errors.Is(err, errSealed) || s.n != 5 {
		t.Errorf("%d, %v, %d bytes", n, err, s.n)
	}
}

func TestAWriteThatFailedWholeLeftNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{"written": {nil, true}, "broken pipe": {errors.New("broken pipe"), false}} {
		w := &wire{Conn: &sink{err: tc.err}}
		r := newRequest(nil, nothing)
		r.conn = w
		w.carry(r)
		_, _ = w.Write([]byte("request"))
		if may, _ := r.sent(); may != tc.want {
			t.Errorf("%s: may have left %v", name, may)
		}
	}
}

func TestAStopWhileTheGuardRunsWinsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		w := &wire{Conn: s}
		ended := false
		r := newRequest(func() error { time.Sleep(time.Minute); ended = true; return nil }, func() { t.Error("the wait for the answer began") })
		r.conn = w
		w.carry(r)
		var err error
		done := make(chan struct{})
		go func() { _, err = w.Write([]byte("request")); close(done) }()
		synctest.Wait()
		may, guardErr := r.sent()
		if may || guardErr != nil || !ended {
			t.Errorf("may have left %v, %v, guard ended %v", may, guardErr, ended)
		}
		<-done
		if !errors.Is(err, ErrStopped) || s.n != 0 {
			t.Errorf("%v, %d bytes", err, s.n)
		}
	})
}

func TestAGuardThatDoesNotReturnRefuses(t *testing.T) {
	s := &sink{}
	w := &wire{Conn: s}
	r := newRequest(func() error { runtime.Goexit(); return nil }, nothing)
	w.carry(r)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = w.Write([]byte("request")) }()
	<-done
	if _, err := w.Write([]byte("more")); !errors.Is(err, ErrGuard) || s.n != 0 {
		t.Errorf("%v, %d bytes", err, s.n)
	}
	if may, err := r.sent(); may || !errors.Is(err, ErrGuard) {
		t.Errorf("%v, %v", may, err)
	}
}
