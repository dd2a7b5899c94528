package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"decom/nmvs"
)

// buffers spares the replies' memory; it holds no state.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// deliver writes the answer, or what the fault makes of it.
func (s *Sim) deliver(w http.ResponseWriter, r *http.Request, c *call, res *result) {
	f := c.fault
	if c.maintained || f == nil || f.Kind == Crash {
		s.answered(res, s.send(w, c.q, res))
		return
	}
	switch f.Kind {
	case Hang:
		s.answered(res, false)
		s.hang(r.Context(), time.Duration(f.For))
		abort(w)
	case Reset:
		s.answered(res, false)
		abort(w)
	case Cut:
		s.answered(res, false)
		s.cut(w, c.q, res, f.At)
	case Garbled:
		s.answered(res, s.write(w, http.StatusOK, garble(res.reply(nil, c.q))))
	default:
		q, bent := bend(c.q, res, f)
		s.answered(res, s.send(w, q, bent))
	}
}

// bend changes the answer as the fault says; the originals stay as they are.
func bend(q *request, res *result, f *Fault) (*request, *result) {
	r, p := *res, *q
	switch f.Kind {
	case HTTP:
		r.http, r.retry, r.code = f.status(), f.RetryAfter, f.Code
		r.view, r.bulk, r.list, r.terms = nil, nil, nil, nil
		r.fault = ""
		if f.Code == "" {
			r.message = http.StatusText(r.http)
		}
	case Code:
		r.code = f.code()
		r.view, r.bulk, r.list, r.terms = nil, nil, nil, nil
		if q.op.Kind == nmvs.KindPing {
			r.fault, r.message, r.http = "Receiver", r.code, http.StatusInternalServerError
		}
	case SOAPFault:
		r.fault, r.message, r.http = "Receiver", "The simulator was told to fail.", http.StatusInternalServerError
	case WrongEcho:
		p.cid = other(q.cid)
		p.input = other(q.input)
	case Message:
		r.letter = r.bulk != nil
	case WrongPack:
		if r.view != nil {
			v := *r.view
			v.serial = string(other([]byte(v.serial)))
			r.view = &v
		}
		if r.bulk != nil {
			b := *r.bulk
			b.results = append([]bulkResult(nil), b.results...)
			for i := range b.results {
				b.results[i].view.serial = string(other([]byte(b.results[i].view.serial)))
			}
			r.bulk = &b
		}
	}
	return &p, &r
}

// other returns a text of the same length and alphabet that is not t.
func other(t []byte) []byte {
	o := bytes.Clone(t)
	if n := len(o); n > 0 {
		if o[n-1] == '0' {
			o[n-1] = '1'
		} else {
			o[n-1] = '0'
		}
	}
	return o
}

// garble breaks the XML in its middle, and keeps its ends.
func garble(b []byte) []byte {
	mid := len(b) / 2
	return append(append(append([]byte(nil), b[:mid]...), "<<&"...), b[mid+3:]...)
}

// send writes a whole reply, and says whether the connection took it.
func (s *Sim) send(w http.ResponseWriter, q *request, r *result) bool {
	ping := q.op != nil && q.op.Kind == nmvs.KindPing
	plain := r.http >= 300 && r.fault == "" && (r.code == "" || r.http == http.StatusTooManyRequests)
	if !plain && r.fault == "" && (q.op == nil || !ping && !q.headed || ping && r.code != "" && r.code != codeSuccess) {
		r.fault, r.message = "Receiver", r.code // no reply has room for this code, or nothing to echo is known
	}
	status := http.StatusOK
	if r.http != 0 {
		status = r.http
	} else if r.fault == "Receiver" {
		status = http.StatusInternalServerError
	}
	if r.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((time.Duration(r.retry)+time.Second-1)/time.Second)))
	}
	if status >= 300 && status < 400 {
		w.Header().Set("Location", "/elsewhere")
	}
	if plain {
		text := http.StatusText(status)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(status)
		_, err := w.Write([]byte(text))
		return err == nil
	}
	buf := buffers.Get().(*[]byte)
	*buf = r.reply((*buf)[:0], q)
	ok := s.write(w, status, *buf)
	if cap(*buf) <= 1<<20 {
		buffers.Put(buf)
	}
	return ok
}

func (s *Sim) write(w http.ResponseWriter, status int, b []byte) bool {
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, err := w.Write(b)
	return err == nil
}

// cut promises the whole reply and breaks off after n bytes.
func (s *Sim) cut(w http.ResponseWriter, q *request, r *result, n int) {
	var b []byte
	if q.headed || q.op.Kind == nmvs.KindPing {
		b = r.reply(nil, q)
	} else {
		b = []byte("<soap:Envelope></soap:Envelope>")
	}
	switch {
	case n == 0:
		n = len(b) / 2
	case n < 0:
		n = len(b) + n
	}
	n = min(max(n, 0), len(b)-1)
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b[:n])                     // the reply is spoilt anyway
	_ = http.NewResponseController(w).Flush() // so that the bytes leave before the end
	panic(http.ErrAbortHandler)
}

// hang waits for d, or for ever if d is 0; it ends with the client or the simulator.
func (s *Sim) hang(ctx context.Context, d time.Duration) {
	var end <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		end = t.C
	}
	select {
	case <-ctx.Done():
	case <-s.stop:
	case <-end:
	}
}

// abort resets the connection: the client sees "connection reset", not an end.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn() // without a TLS goodbye
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// answered notes whether the reply was written.
func (s *Sim) answered(r *result, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		s.book.c.Unanswered++
		return
	}
	if w := s.book.at(r.row); w != nil {
		w.flags |= rowAnswered
	}
}
