package httpdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"decom/queue"
)

// writeTime is how long one write to a reader of outcomes may take before it counts as gone.
const writeTime = 10 * time.Second

// outcomes is GET /v1/outcomes: server-sent events, or a JSON list for those who ask now
// and then.
func (d *Door) outcomes(w http.ResponseWriter, r *http.Request, c caller) *Problem {
	leave, ok := place(c.pace.streams)
	if !ok {
		return tooMany.problem(r, "")
	}
	defer leave()
	f, err := outcomeFilter(r, c.who, time.Now())
	if err != nil {
		return badQuery.problem(r, err.Error())
	}
	if !d.deps.Queue.Up() {
		return noAnswer.problem(r, "")
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return d.outcomeList(w, r, f)
	}
	return d.outcomeStream(w, r, f)
}

// before is how far before now a stream begins that names no beginning: a scan may have
// its outcome before its sender has opened the stream, and clocks differ.
const before = 5 * time.Second

// outcomeFilter says where to begin: behind Last-Event-ID (or after=), at since=, else
// a little before now.
func outcomeFilter(r *http.Request, who Principal, now time.Time) (f queue.OutcomeFilter, err error) {
	f = queue.OutcomeFilter{Site: who.Site, Device: who.Device, Since: now.Add(-before)}
	if f.Device == AnyDevice {
		f.Device = ""
	}
	query := r.URL.Query()
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = query.Get("after")
	}
	switch since := query.Get("since"); {
	case last != "":
		if f.After, err = strconv.ParseUint(last, 10, 64); err != nil {
			return f, errors.New("Last-Event-ID and after: must be a sequence of the stream, as the event's id says")
		}
		if f.After == 0 {
			f.Since = time.Time{} // from the first one
		}
	case since != "":
		if f.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
			return f, errors.New("since: must be a time as 2026-11-22T10:15:30Z")
		}
	}
	return f, nil
}

// listMax bounds the outcomes of one list; after= with the last sequence has the next ones.
const listMax = 1000

var errEnough = errors.New("enough")

type outcomeList struct {
	Outcomes []listedOutcome `json:"outcomes"`
	After    uint64          `json:"after"` // for the next request; 0: nothing was there
}

type listedOutcome struct {
	Sequence uint64          `json:"sequence"`
	Outcome  json.RawMessage `json:"outcome"`
}

func (d *Door) outcomeList(w http.ResponseWriter, r *http.Request, f queue.OutcomeFilter) *Problem {
	ctx, cancel := context.WithTimeout(r.Context(), 2*d.cfg.Patience)
	defer cancel()
	list := outcomeList{Outcomes: []listedOutcome{}, After: f.After}
	err := d.deps.Queue.Outcomes(ctx, f, func(o queue.StoredOutcome) error {
		list.Outcomes = append(list.Outcomes, listedOutcome{o.Seq, o.Body})
		list.After = o.Seq
		if len(list.Outcomes) == listMax {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		d.deps.Log.Warn("HTTP door: outcomes cannot be read", "err", err)
		return noAnswer.problem(r, "")
	}
	reply(w, http.StatusOK, list)
	return nil
}

// outcomeStream writes each outcome as an event whose id is its sequence: a reader that
// comes back says the last one it had, and misses nothing.
func (d *Door) outcomeStream(w http.ResponseWriter, r *http.Request, f queue.OutcomeFilter) *Problem {
	f.Follow = true
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if stop, ok := r.Context().Value(stopKey{}).(<-chan struct{}); ok {
		go func() {
			select {
			case <-stop:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	s := &stream{w: w, control: http.NewResponseController(w)}
	_ = s.control.SetReadDeadline(time.Time{}) // the server would take its end for the reader's
	if s.write([]byte("retry: 3000\n\n")) != nil {
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.beat(ctx, d.cfg.Beat, cancel) })
	err := d.deps.Queue.Outcomes(ctx, f, func(o queue.StoredOutcome) error {
		return s.write(event(o))
	})
	if err != nil && ctx.Err() == nil {
		d.deps.Log.Debug("HTTP door: a stream of outcomes ended", "site", f.Site, "device", f.Device, "err", err)
	}
	cancel()
	return nil
}

// event is one server-sent event. A line end in the body would end a field, so each line
// gets its own.
func event(o queue.StoredOutcome) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %d\nevent: outcome\n", o.Seq)
	for line := range bytes.Lines(o.Body) {
		fmt.Fprintf(&b, "data: %s\n", bytes.TrimRight(line, "\r\n"))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// stream is one reader's connection.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter // guarded by mu
	control *http.ResponseController
}

func (s *stream) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime)) // fakes of tests cannot
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}

// beat shows now and then that the line is up, and finds out that the reader is gone.
func (s *stream) beat(ctx context.Context, every time.Duration, gone func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.write([]byte(": still here\n\n")) != nil {
				gone()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
