package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"decom/worker/ledger"

	"github.com/nats-io/nats.go"
)

// op is one request about an account's ledger as it passed between a worker and NATS: an
// append by compare-and-set, or a read at the leader.
type op struct {
	conn    int
	account string
	call    time.Duration // before the server saw it
	ret     time.Duration // after the server answered; 0: no answer passed

	append bool
	prev   uint64 // append: expected last sequence of the subject
	hash   string // append: of the payload; read: of the answer
	from   uint64 // read: the first record with at least this sequence; 0: the last one
	out    answer
	seq    uint64 // won, duplicate, read: the record; lost: the last one there, 0 if not told
}

type answer int

const (
	unknown   answer = iota // no answer, or one that says nothing
	won                     // stored
	duplicate               // stored earlier under the same id
	lost                    // another record stands there
	nothing                 // read: none there
	found                   // read
)

// tap records the operations of all workers on all ledgers.
type tap struct {
	began time.Time
	mu    sync.Mutex // guards the rest
	conns int
	ops   []*op
}

func newTap() *tap { return &tap{began: time.Now()} }

// connection returns the watchers of a new connection's two directions.
func (t *tap) connection() (up, down func([]byte)) {
	t.mu.Lock()
	t.conns++
	c := &tapped{tap: t, n: t.conns, waits: map[string]*op{}}
	t.mu.Unlock()
	a, b := &natsReader{see: c.sent}, &natsReader{see: c.answered}
	return a.feed, b.feed
}

func (t *tap) history() []*op {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ops
}

// tapped is one connection. Its two directions run side by side.
type tapped struct {
	tap   *tap
	n     int
	waits map[string]*op // by reply subject; guarded by tap.mu
}

const (
	ledgerSubject = "decom.ledger."
	readSubject   = "$JS.API.STREAM.MSG.GET.DECOM_LEDGER"
)

func (c *tapped) sent(m wireMsg) {
	var o *op
	switch {
	case strings.HasPrefix(m.subject, ledgerSubject):
		h, err := nats.DecodeHeadersMsg(m.header)
		if err != nil {
			return
		}
		prev, err := strconv.ParseUint(h.Get("Nats-Expected-Last-Subject-Sequence"), 10, 64)
		if err != nil {
			return
		}
		o = &op{append: true, account: strings.TrimPrefix(m.subject, ledgerSubject), prev: prev, hash: ledger.Hash(m.body)}
	case m.subject == readSubject:
		var req struct {
			Seq     uint64 `json:"seq"`
			LastFor string `json:"last_by_subj"`
			NextFor string `json:"next_by_subj"`
			Start   string `json:"start_time"`
		}
		if json.Unmarshal(m.body, &req) != nil || req.LastFor == "" && req.NextFor == "" || req.Start != "" {
			return // a record by its sequence does not change; one by its time says nothing of the last one
		}
		o = &op{account: strings.TrimPrefix(req.LastFor+req.NextFor, ledgerSubject), from: req.Seq}
		if req.NextFor != "" {
			o.from = max(req.Seq, 1)
		}
	default:
		return
	}
	o.conn, o.call = c.n, time.Since(c.tap.began)
	c.tap.mu.Lock()
	c.tap.ops = append(c.tap.ops, o)
	c.waits[m.reply] = o
	c.tap.mu.Unlock()
}

func (c *tapped) answered(m wireMsg) {
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	o := c.waits[m.subject]
	if o == nil {
		return
	}
	delete(c.waits, m.subject)
	var a struct {
		Seq       uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code int    `json:"err_code"`
			Text string `json:"description"`
		} `json:"error"`
		Message *struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if json.Unmarshal(m.body, &a) != nil {
		return // no responders, or half an answer
	}
	o.ret = time.Since(c.tap.began)
	switch {
	case a.Error != nil && o.append && a.Error.Code == 10071:
		o.out = lost
		if _, n, ok := strings.Cut(a.Error.Text, "wrong last sequence: "); ok {
			o.seq, _ = strconv.ParseUint(n, 10, 64)
		}
	case a.Error != nil && !o.append && a.Error.Code == 10037:
		o.out = nothing
	case a.Error != nil:
		// 10164 too: in a cluster the leader refuses beside a rival's append that is still on
		// its way to the others; a read just behind it does not find that one yet.
		o.out = unknown
	case o.append && a.Seq > 0 && a.Duplicate:
		o.out, o.seq = duplicate, a.Seq
	case o.append && a.Seq > 0:
		o.out, o.seq = won, a.Seq
	case !o.append && a.Message != nil:
		o.out, o.seq, o.hash = found, a.Message.Seq, ledger.Hash(a.Message.Data)
	}
}

// wireMsg is one message of NATS's text protocol.
type wireMsg struct {
	subject, reply string
	header, body   []byte
}

// natsReader cuts a stream of NATS's protocol into messages. Bytes that a fault left out make
// it stop: what follows is not trusted.
type natsReader struct {
	see    func(wireMsg)
	buf    []byte
	broken bool
}

func (r *natsReader) feed(b []byte) {
	if r.broken {
		return
	}
	r.buf = append(r.buf, b...)
	for {
		i := bytes.Index(r.buf, []byte("\r\n"))
		if i < 0 {
			return
		}
		m, head, size, err := parseControl(string(r.buf[:i]))
		if err != nil {
			r.broken, r.buf = true, nil
			return
		}
		end := i + 2
		if size >= 0 {
			end += size + 2
			if len(r.buf) < end {
				return
			}
			m.header, m.body = r.buf[i+2:i+2+head], r.buf[i+2+head:i+2+size]
			r.see(m)
		}
		r.buf = r.buf[end:]
		if len(r.buf) == 0 {
			r.buf = nil
		}
	}
}

var errProtocol = errors.New("not NATS's protocol")

// parseControl reads a control line; size is -1 where no payload follows.
func parseControl(text string) (m wireMsg, head, size int, err error) {
	f := strings.Fields(text)
	if len(f) == 0 {
		return m, 0, -1, errProtocol
	}
	var names, sizes int // arguments that must be there before and after the reply subject
	switch strings.ToUpper(f[0]) {
	case "PUB":
		names, sizes = 1, 1
	case "HPUB":
		names, sizes = 1, 2
	case "MSG":
		names, sizes = 2, 1
	case "HMSG":
		names, sizes = 2, 2
	case "INFO", "CONNECT", "SUB", "UNSUB", "PING", "PONG", "+OK", "-ERR":
		return m, 0, -1, nil
	default:
		return m, 0, -1, errProtocol
	}
	f = f[1:]
	if n := len(f) - names - sizes; n != 0 && n != 1 {
		return m, 0, -1, errProtocol
	} else if n == 1 {
		m.reply = f[names]
	}
	m.subject = f[0]
	if size, err = strconv.Atoi(f[len(f)-1]); err != nil || size < 0 {
		return m, 0, -1, errProtocol
	}
	if sizes == 2 {
		if head, err = strconv.Atoi(f[len(f)-2]); err != nil || head < 0 || head > size {
			return m, 0, -1, errProtocol
		}
	}
	return m, head, size, nil
}
