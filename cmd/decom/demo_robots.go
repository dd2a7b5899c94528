package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"decom/queue"
)

// robots publish the scenario at an even pace. A scan that waits for another one's outcome
// is put aside until that is there.
type robots struct {
	conn *queue.Conn
	rate float64 // scans a second

	mu    sync.Mutex
	seen  map[string]bool        // outcomes that are there
	aside map[string][]*demoScan // by the event they wait for
	ready []*demoScan            // no longer waiting
	at    map[string]time.Time   // what the device's clock said, by event
	sent  map[string]time.Time   // when it was published, by event
	body  map[string][]byte      // of messages that are sent again
	later []*demoScan            // repeated messages whose first copy is too young
	left  int                    // messages not published yet
	done  int                    // messages that the stream has
	wake  chan struct{}          // capacity 1: ready has grown
}

// repeatAfter is the age of a message that is sent again: within the stream's duplicate
// window of 100 ms the stream itself would drop the copy, and the worker see nothing.
const repeatAfter = 150 * time.Millisecond

func newRobots(conn *queue.Conn, sc *scenario, rate float64) *robots {
	r := &robots{
		conn: conn, rate: rate, seen: map[string]bool{}, aside: map[string][]*demoScan{}, at: map[string]time.Time{},
		sent: map[string]time.Time{}, body: map[string][]byte{}, left: len(sc.scans), wake: make(chan struct{}, 1),
	}
	for _, s := range sc.scans {
		if s.again != "" {
			r.body[s.again] = nil
		}
	}
	return r
}

// run publishes everything and returns when the stream has acknowledged it all.
func (r *robots) run(ctx context.Context, sc *scenario) error {
	began, published, next := time.Now(), 0, 0
	for {
		batch, done := r.due(sc, &next, int(time.Since(began).Seconds()*r.rate)+1-published)
		if done {
			return nil
		}
		if len(batch) > 0 {
			if err := r.publish(ctx, batch); err != nil {
				return err
			}
			published += len(batch)
		}
		wait := time.Duration(float64(published+1)/r.rate*float64(time.Second)) - time.Since(began)
		wake := r.wake
		if wait > 0 && next < len(sc.scans) {
			wake = nil // the pace alone counts while there is something to publish
		}
		select {
		case <-time.After(max(wait, 5*time.Millisecond)):
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// due takes up to n scans that may be published now.
func (r *robots) due(sc *scenario, next *int, n int) (batch []*demoScan, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := r.later[:0]
	for _, s := range r.later {
		if time.Since(r.sent[s.again]) < repeatAfter {
			keep = append(keep, s)
			continue
		}
		batch = append(batch, s)
	}
	r.later = keep
	for len(batch) < n && len(r.ready) > 0 {
		batch = append(batch, r.ready[0])
		r.ready = r.ready[1:]
	}
	for len(batch) < n && *next < len(sc.scans) && (*next < sc.opening || r.opened(sc)) {
		s := &sc.scans[*next]
		*next++
		switch {
		case s.after != "" && !r.seen[s.after]:
			r.aside[s.after] = append(r.aside[s.after], s)
		case s.again != "" && s.after == "":
			r.later = append(r.later, s)
		default:
			batch = append(batch, s)
		}
	}
	return batch, r.left == 0
}

// opened says that the opening scans have their outcomes. mu is held.
func (r *robots) opened(sc *scenario) bool {
	for i := range sc.scans[:sc.opening] {
		if !r.seen[sc.scans[i].id] {
			return false
		}
	}
	return true
}

func (r *robots) publish(ctx context.Context, batch []*demoScan) error {
	scans := make([]queue.Scan, len(batch))
	r.mu.Lock()
	for i, s := range batch {
		scans[i] = queue.Scan{Site: s.site, Device: s.device, ID: s.id, Body: r.message(s)}
	}
	r.mu.Unlock()
	acks, err := r.conn.PublishScans(ctx, scans)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range batch {
		r.left--
		r.done++
		if s.again == "" && acks[i].Duplicate {
			return fmt.Errorf("scan %s was taken for one that the stream has already", s.id)
		}
	}
	return nil
}

// message writes a scan with the device's time, or gives back the very bytes of the one
// that it repeats. mu is held.
func (r *robots) message(s *demoScan) []byte {
	if s.again != "" {
		return r.body[s.again]
	}
	at := time.Now()
	if first, ok := r.at[s.after]; ok {
		at = first
	}
	at = at.Add(s.shift)
	if r.sent[s.id] = time.Now(); !s.noAt { // else the stream's time counts, and nobody knows it here
		r.at[s.id] = at
	}
	body := s.body(at)
	if _, kept := r.body[s.id]; kept {
		r.body[s.id] = body
	}
	return body
}

// outcome tells that an event has its outcome, and returns how long that took.
func (r *robots) outcome(id string, at time.Time) (took time.Duration, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent, known := r.sent[id]
	if !r.seen[id] {
		r.seen[id] = true
		r.ready = append(r.ready, r.aside[id]...)
		delete(r.aside, id)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return at.Sub(sent), known
}

// progress is how many messages are published, and how many there are.
func (r *robots) progress() (published, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done, r.done + r.left
}
