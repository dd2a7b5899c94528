package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"decom/worker/scan"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publishWindow is how many publishes of one call are out without an answer:
// enough to keep the server busy, far below its own queue of 100,000.
const publishWindow = 1000

// maxPatience is the longest silence after which publishes are repeated.
const maxPatience = 30 * time.Second

// maxNoStream is how often the publish of a scan that no stream took is tried again: a
// server that has just started answers so for a moment. Outcomes are tried until the
// context ends: where an outbox runs, the streams were there.
const maxNoStream = 5

// Ack says that a stream has stored a message.
type Ack struct {
	Seq       uint64
	Duplicate bool // it was stored before under the same id; Seq is that one's
}

// Scan is one scan event to be published.
type Scan struct {
	Site, Device string
	ID           string // Nats-Msg-Id; may be empty
	Body         []byte
	Trace        string // traceparent, and behind a space its tracestate; may be empty
}

// Outcome is one outcome to be published.
type Outcome struct {
	Site, Device string
	EventID      string // Nats-Msg-Id: one outcome per event within the stream's window
	Ledger       string // ACCOUNT/seq/i, where the outcome stands on the ledger
	Body         []byte
	Trace        string // traceparent, for whoever goes on with the outcome; may be empty
}

// PublishScan stores one scan and returns when the stream has it. An id already seen
// within the stream's short window gives Duplicate: check it, another device may
// have used the id. [ErrNoStream] when no stream captures the subject. When ctx
// ends first the scan may or may not be stored: publish it again under the same id.
func (c *Conn) PublishScan(ctx context.Context, site, device, id string, body []byte) (Ack, error) {
	acks, err := c.PublishScans(ctx, []Scan{{Site: site, Device: device, ID: id, Body: body}})
	if len(acks) == 0 {
		return Ack{}, err
	}
	return acks[0], err
}

// PublishScans stores scans, many at once, and returns when the stream has them all.
// They are stored in order unless an answer is lost and one has to be repeated. acks has one entry per scan; Seq 0 says that this one is not known to
// be stored, and the error why.
func (c *Conn) PublishScans(ctx context.Context, scans []Scan) (acks []Ack, err error) {
	msgs := make([]*nats.Msg, len(scans))
	for i, s := range scans {
		if !scan.ValidToken(s.Site) || !scan.ValidToken(s.Device) {
			return nil, fail("publish", "", fmt.Errorf("%q/%q is not a site and a device: 1 to 64 of A-Z a-z 0-9 _ -", s.Site, s.Device))
		}
		msgs[i] = &nats.Msg{Subject: scanPrefix + s.Site + "." + s.Device, Data: s.Body}
		if s.ID != "" {
			msgs[i].Header = nats.Header{headerMsgID: {s.ID}}
		}
		if s.Trace != "" {
			if msgs[i].Header == nil {
				msgs[i].Header = nats.Header{}
			}
			setTrace(msgs[i].Header, s.Trace)
		}
	}
	return c.publishMany(ctx, StreamScans, msgs)
}

// PublishOutcome stores one outcome; see PublishOutcomes.
func (c *Conn) PublishOutcome(ctx context.Context, site, device, eventID, ledgerRef string, body []byte) (duplicate bool, err error) {
	acks, err := c.PublishOutcomes(ctx, []Outcome{{Site: site, Device: device, EventID: eventID, Ledger: ledgerRef, Body: body}})
	if err != nil {
		return false, err
	}
	return acks[0].Duplicate, nil
}

// PublishOutcomes stores outcomes, many at once, and returns when the stream has them
// all, or ctx ends; in order unless an answer is lost and one has to be repeated. Publishing again is harmless within the stream's
// window of one hour; beyond it the outbox reads back what is there.
func (c *Conn) PublishOutcomes(ctx context.Context, outcomes []Outcome) (acks []Ack, err error) {
	msgs, block, values := make([]*nats.Msg, len(outcomes)), make([]nats.Msg, len(outcomes)), make([]string, 0, 2*len(outcomes))
	subject := ""
	for i := range outcomes {
		o := &outcomes[i]
		if i == 0 || o.Site != outcomes[i-1].Site || o.Device != outcomes[i-1].Device { // few devices have many
			subject = outcomePrefix + o.Site + "." + o.Device
		}
		values = append(values, o.EventID, o.Ledger)
		n := len(values)
		block[i] = nats.Msg{Subject: subject, Data: o.Body, Header: nats.Header{
			headerMsgID: values[n-2 : n-1 : n-1], headerLedger: values[n-1 : n : n],
		}}
		if o.Trace != "" {
			setTrace(block[i].Header, o.Trace)
		}
		msgs[i] = &block[i]
	}
	if c.cfg.MQTT != nil {
		if err := c.tellMQTT(ctx, msgs); err != nil {
			return make([]Ack, len(msgs)), err
		}
	}
	return c.publishMany(ctx, StreamOutcomes, msgs)
}

// publishing is one publishAll: a window of messages out, their answers on one inbox.
// jetstream's PublishAsync makes a future, a token and a subject per message
// (limits.md section 2: half of what it costs the client).
type publishing struct {
	c      *Conn
	stream string
	msgs   []*nats.Msg
	acks   []Ack
	errs   []error // final refusals, by message
	tries  []int   // answers "no stream", by message
	inbox  string
	// answers is a channel of our own: nats.go's NextMsg turns "no stream" into an
	// error that does not say to which publish. Room for the answers of a window and
	// for late ones of windows given up.
	answers chan *nats.Msg
	// patience is how long the server may be silent. It doubles each time it was: a
	// server that works off a backlog must not get it all once more.
	patience time.Duration
}

// publishAll publishes msgs in order and waits for every answer. Publishes whose
// answer is lost are repeated: the receivers of both streams bear repetition.
func (c *Conn) publishAll(ctx context.Context, stream string, msgs []*nats.Msg) ([]Ack, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	p := &publishing{
		c: c, stream: stream, msgs: msgs, acks: make([]Ack, len(msgs)), errs: make([]error, len(msgs)),
		tries: make([]int, len(msgs)), inbox: c.nc.NewInbox(),
		patience: c.cfg.AnswerWait,
		answers:  make(chan *nats.Msg, min(4*publishWindow, 4*len(msgs)+16)),
	}
	sub, err := c.nc.ChanSubscribe(p.inbox+".*", p.answers)
	if err != nil {
		return p.acks, fail("publish", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	todo := make([]int, len(msgs))
	for i := range msgs {
		todo[i] = i
	}
	for back := (pause{}); len(todo) > 0; {
		if err := p.round(ctx, todo); err != nil {
			return p.acks, fail("publish", stream, err)
		}
		if todo = p.left(todo); len(todo) == 0 {
			break
		}
		if err := back.wait(ctx); err != nil {
			return p.acks, fail("publish", stream, fmt.Errorf("%d of %d not known to be stored: %w", len(todo), len(msgs), err))
		}
	}
	return p.acks, fail("publish", stream, errors.Join(p.errs...))
}

// left returns what has neither an ack nor a final refusal.
func (p *publishing) left(todo []int) []int {
	left := todo[:0]
	for _, i := range todo {
		if p.acks[i].Seq == 0 && p.errs[i] == nil {
			left = append(left, i)
		}
	}
	return left
}

// round publishes todo once and takes answers until all came or the server is
// silent for one answer's time.
func (p *publishing) round(ctx context.Context, todo []int) error {
	sent, answered := 0, 0
	for answered < len(todo) {
		for sent < len(todo) && sent-answered < publishWindow {
			i := todo[sent]
			p.msgs[i].Reply = p.inbox + "." + strconv.Itoa(i)
			if err := p.c.nc.PublishMsg(p.msgs[i]); err != nil {
				switch fateOf(err) {
				case fateRefused:
					p.errs[i] = err
					if errors.Is(err, nats.ErrConnectionClosed) {
						return err
					}
					answered++
				default: // disconnected: later
					return nil
				}
			}
			sent++
		}
		if answered == len(todo) {
			return nil
		}
		msg, err := p.answer(ctx)
		if err != nil {
			return err
		}
		if msg == nil {
			p.patience = min(2*p.patience, maxPatience)
			return nil
		}
		if p.take(msg) {
			answered++
		}
	}
	return nil
}

// answer waits for the next answer; nil when the server is silent, or ctx has ended.
func (p *publishing) answer(ctx context.Context) (*nats.Msg, error) {
	select {
	case msg, ok := <-p.answers:
		return closedIf(msg, !ok)
	default:
	}
	t := time.NewTimer(p.patience)
	defer t.Stop()
	select {
	case msg, ok := <-p.answers:
		return closedIf(msg, !ok)
	case <-t.C:
	case <-ctx.Done():
	}
	return nil, nil
}

func closedIf(msg *nats.Msg, closed bool) (*nats.Msg, error) {
	if closed {
		return nil, nats.ErrConnectionClosed
	}
	return msg, nil
}

// take reads one answer; false when it is a late one to a publish answered before.
func (p *publishing) take(msg *nats.Msg) bool {
	i, err := strconv.Atoi(strings.TrimPrefix(msg.Subject, p.inbox+"."))
	if err != nil || i < 0 || i >= len(p.msgs) || p.acks[i].Seq != 0 || p.errs[i] != nil {
		return false
	}
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		if p.tries[i]++; p.tries[i] > maxNoStream && p.stream == StreamScans {
			p.errs[i] = fmt.Errorf("%w: %s is captured by no stream of this server; create them with: decom setup", ErrNoStream, p.msgs[i].Subject)
		}
		return true
	}
	if ack, ok := quickAck(msg.Data, p.stream); ok {
		p.acks[i] = ack
		return true
	}
	var a struct {
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &a); {
	case err != nil:
		p.errs[i] = fmt.Errorf("the answer to a publish cannot be read: %w", err)
	case a.Error != nil:
		if fateOf(a.Error) != fateNotNow {
			p.errs[i] = fmt.Errorf("%s refused it: %w", p.stream, a.Error)
		}
	case a.Stream != p.stream:
		p.errs[i] = fmt.Errorf("%w: stream %s took %s, where %s should be", ErrNoStream, a.Stream, p.msgs[i].Subject, p.stream)
	default:
		p.acks[i] = Ack{Seq: a.Seq, Duplicate: a.Duplicate}
	}
	return true
}

// quickAck reads the usual answer to a publish, which encoding/json reads 10 times
// slower; false: it is not the usual one.
func quickAck(data []byte, stream string) (a Ack, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"stream":"`))
	if !ok || len(rest) < len(stream) || string(rest[:len(stream)]) != stream {
		return a, false
	}
	if rest, ok = bytes.CutPrefix(rest[len(stream):], []byte(`","seq":`)); !ok {
		return a, false
	}
	n := 0
	for ; n < len(rest) && n < 19 && rest[n] >= '0' && rest[n] <= '9'; n++ {
		a.Seq = a.Seq*10 + uint64(rest[n]-'0')
	}
	switch string(rest[n:]) {
	case "}":
	case `,"duplicate":true}`, `,"duplicate": true}`:
		a.Duplicate = true
	default:
		return Ack{}, false
	}
	return a, a.Seq > 0
}
