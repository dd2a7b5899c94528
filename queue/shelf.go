package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"decom/worker/scan"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamShelf holds documents that wait for a person or an event before anything of them
// becomes a scan: consolidated codes. It is an extension of contract.md section 3, made
// when the first document comes.
const StreamShelf = "DECOM_CONSOLIDATED"

const (
	shelfPrefix = "decom.consolidated."
	shelfLog    = "log"
)

// Shelf keeps documents. A document is a name, parts (bodies that are written once) and
// a log of notes appended by compare-and-set, which says what the document is and what
// became of it. What notes and parts mean is their writer's business.
type Shelf struct{ c *Conn }

// Note is one entry of a document's log.
type Note struct {
	Doc  string
	Seq  uint64
	Time time.Time // when the stream took it: the server's clock, fixed for ever
	Body []byte
}

// shelfStream is file storage without limits: what was told stored stays. Nothing in it
// can be deleted one by one; parts of an unfinished document may be purged.
func (c *Conn) shelfStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: StreamShelf, Subjects: []string{shelfPrefix + "*.>"},
		Description: "decom: consolidated codes, held until receipt",
		Retention:   jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxConsumers: -1, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		Replicas: max(c.cfg.Replicas, 1), Duplicates: 2 * time.Minute, AllowAtomicPublish: true,
		Compression: jetstream.S2Compression, // rows are text that repeats itself
	}
}

// OpenShelf returns the shelf. With create the stream is made, or brought to what is
// wanted; without, a stream that is not there is [ErrNotSetUp].
func (c *Conn) OpenShelf(ctx context.Context, create bool) (*Shelf, error) {
	if !create {
		_, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (jetstream.Stream, error) {
			return c.js.Stream(ctx, StreamShelf)
		})
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = notSetUp("stream " + StreamShelf)
		}
		return &Shelf{c}, fail("open", StreamShelf, err)
	}
	s, err := c.planStream(ctx, c.shelfStream())
	if err == nil && s != nil {
		err = s.do(ctx)
	}
	if err != nil {
		return nil, fail("open", StreamShelf, explain(err))
	}
	return &Shelf{c}, nil
}

func shelfSubject(doc, part string) (string, error) {
	if !scan.ValidToken(doc) || !scan.ValidToken(part) {
		return "", fmt.Errorf("%q/%q is not a document and a part", doc, part)
	}
	return shelfPrefix + doc + "." + part, nil
}

// Append puts a note behind prev, the sequence of the document's last note (0: none yet).
// [ErrLost] when another one stands there: read again, decide anew. [ErrUnknown] when ctx
// ended first. body must differ from every other note's, or a lost append may be taken
// for a won one.
func (s *Shelf) Append(ctx context.Context, doc string, prev uint64, body []byte) (Note, error) {
	subject, err := shelfSubject(doc, shelfLog)
	if err != nil {
		return Note{}, fail("append", doc, err)
	}
	sent := false
	for p := (pause{}); ; {
		n, known, err := s.appendOnce(ctx, subject, prev, body, &sent)
		if known || err != nil {
			n.Doc = doc
			return n, fail("append", subject, err)
		}
		if err := p.wait(ctx); err != nil {
			if sent {
				err = fmt.Errorf("%w: %w", ErrUnknown, err)
			}
			return Note{}, fail("append", subject, err)
		}
	}
}

// appendOnce publishes once and finds out what became of it. Neither known nor an error:
// nothing is there, publish again. sent says that a copy may still be on its way.
func (s *Shelf) appendOnce(ctx context.Context, subject string, prev uint64, body []byte, sent *bool) (Note, bool, error) {
	msg := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{
		jetstream.ExpectedStreamHeader:      {StreamShelf},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(prev, 10)},
	}}
	one, cancel := context.WithTimeout(ctx, s.c.cfg.AnswerWait)
	_, err := s.c.js.PublishMsg(one, msg, jetstream.WithRetryAttempts(0))
	cancel()
	if err != nil {
		switch fateOf(err) {
		case fateRefused:
			if !*sent {
				return Note{}, false, err
			}
		case fateUnknown:
			*sent = true
		}
	}
	// The leader knows what stands behind prev, and when it came.
	m, gerr := s.c.get(ctx, StreamShelf, getRequest{Seq: prev + 1, NextFor: subject})
	switch {
	case errors.Is(gerr, ErrNotFound) && err != nil && fateOf(err) == fateLost:
		return Note{}, true, ErrLost // prev is no note of this document
	case errors.Is(gerr, ErrNotFound):
		return Note{}, false, nil
	case gerr != nil && err == nil:
		return Note{}, false, fmt.Errorf("%w: %w", ErrUnknown, gerr)
	case gerr != nil:
		return Note{}, false, nil
	case bytes.Equal(m.Data, body):
		return Note{Seq: m.Seq, Time: m.Time, Body: m.Data}, true, nil
	}
	return Note{}, true, ErrLost
}

// Notes calls fn for the notes of a document, of every document when doc is empty, in
// order, up to the last one when it began. fn's error ends it and is returned as it is.
func (s *Shelf) Notes(ctx context.Context, doc string, fn func(Note) error) error {
	if doc == "" {
		return s.read(ctx, shelfPrefix+"*."+shelfLog, fn)
	}
	subject, err := shelfSubject(doc, shelfLog)
	if err != nil {
		return fail("read", doc, err)
	}
	return s.read(ctx, subject, fn)
}

// Put stores the bodies of one part, in order. Publishing them again leaves copies, which
// readers must tell apart: a body carries its number.
func (s *Shelf) Put(ctx context.Context, doc, part string, bodies [][]byte) error {
	subject, err := shelfSubject(doc, part)
	if err != nil {
		return fail("put", doc, err)
	}
	msgs := make([]*nats.Msg, len(bodies))
	for i, b := range bodies {
		msgs[i] = &nats.Msg{Subject: subject, Data: b, Header: nats.Header{headerMsgID: {doc + "/" + part + "/" + strconv.Itoa(i)}}}
	}
	_, err = s.c.publishMany(ctx, StreamShelf, msgs)
	return err
}

// Part calls fn for the bodies of one part, in order; fn's error is returned as it is.
func (s *Shelf) Part(ctx context.Context, doc, part string, fn func(body []byte) error) error {
	subject, err := shelfSubject(doc, part)
	if err != nil {
		return fail("read", doc, err)
	}
	return s.read(ctx, subject, func(n Note) error { return fn(n.Body) })
}

func (s *Shelf) read(ctx context.Context, filter string, fn func(Note) error) error {
	last, err := s.c.get(ctx, StreamShelf, getRequest{LastFor: filter})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fail("read", filter, err)
	}
	var own error
	r := reading{c: s.c, stream: StreamShelf, filters: []string{filter}, from: 1, visit: func(m *nats.Msg, meta *nats.MsgMetadata) bool {
		doc, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, shelfPrefix), ".")
		own = fn(Note{Doc: doc, Seq: meta.Sequence.Stream, Time: meta.Timestamp, Body: m.Data})
		return own == nil && meta.Sequence.Stream < last.Seq
	}}
	if err := r.run(ctx); err != nil {
		return fail("read", filter, err)
	}
	return own
}

// Forget purges a part that no note names: what is left of a document that lost the race
// for its first note.
func (s *Shelf) Forget(ctx context.Context, doc, part string) error {
	subject, err := shelfSubject(doc, part)
	if err != nil || part == shelfLog {
		return fail("forget", doc+"/"+part, errors.Join(err, errIfLog(part)))
	}
	stream, err := s.c.js.Stream(ctx, StreamShelf)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	return fail("forget", subject, err)
}

func errIfLog(part string) error {
	if part == shelfLog {
		return errors.New("a log is never forgotten")
	}
	return nil
}
