package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"decom/queue"
)

// gtin numbers French products: 0 34009 3xxxxxx and the check digit.
func gtin(i int) string {
	s := fmt.Sprintf("0340093%06d", i)
	sum := 0
	for j, c := range s {
		w := 3
		if j%2 == 1 {
			w = 1
		}
		sum += int(c-'0') * w
	}
	return s + string(rune('0'+(10-sum%10)%10))
}

// scanOf makes scan i of a name: one pack each, 20 products with 4 batches each.
func scanOf(name string, i int) queue.Scan {
	id := fmt.Sprintf("%s-%07d", name, i)
	text := fmt.Sprintf("]d201%s21%s%07d\x1d1729110010LOT%02d", gtin(i%20), name[:1], i, i%4)
	body, _ := json.Marshal(map[string]string{"id": id, "scan": text}) // strings only
	return queue.Scan{Site: "site-1", Device: "bench", ID: id, Body: body}
}

// scansOf makes n scans of n packs.
func scansOf(name string, n int) []queue.Scan {
	out := make([]queue.Scan, n)
	for i := range out {
		out[i] = scanOf(name, i)
	}
	return out
}

// load is the scans of a round and what became of them.
type load struct {
	scans []queue.Scan
	meant []time.Duration // from start on
	index map[string]int  // event id -> scan

	mu       sync.Mutex // guards the rest
	start    time.Time
	sent     int
	got      []time.Time    // when the outcome was stored; zero: not yet
	have     int            // outcomes of different scans
	counted  int            // outcomes that the stream holds, by its sequences; those of a backlog are read later
	extra    int            // outcomes too many
	results  map[string]int // by RESULT
	first    time.Time
	last     time.Time
	lastSeen time.Time // our clock, for patience
}

// newLoad makes the scans of a round: every account has a site of its own, two devices
// each, and the accounts take turns.
func newLoad(c *Config, sites []string) *load {
	l := &load{scans: make([]queue.Scan, c.Packs), meant: make([]time.Duration, c.Packs), index: make(map[string]int, c.Packs),
		got: make([]time.Time, c.Packs), results: map[string]int{}, lastSeen: time.Now()}
	pace := c.pace()
	for i := range l.scans {
		s := scanOf("bench", i)
		s.Site, s.Device = sites[i%len(sites)], devices[i/len(sites)%len(devices)]
		l.scans[i], l.meant[i], l.index[s.ID] = s, pace(i), i
	}
	return l
}

// devices of every site; the bare pipeline has a consumer for each.
var devices = [2]string{"bench-0", "bench-1"}

// publishMost is how many scans one publish carries: a publisher that has fallen behind
// catches up in blocks of that size.
const publishMost = 2000

// publish lets every scan leave when it is meant to, counted from start; what is late
// leaves together. It returns when the stream has acknowledged all.
func (l *load) publish(ctx context.Context, conn *queue.Conn, start time.Time) error {
	l.mu.Lock()
	l.start, l.lastSeen = start, time.Now()
	l.mu.Unlock()
	for next := 0; next < len(l.scans); {
		if wait := time.Until(start.Add(l.meant[next])); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		k, now := next, time.Since(start)
		for k < len(l.scans) && k-next < publishMost && (l.meant[k] <= now || k == next) {
			k++
		}
		if _, err := conn.PublishScans(ctx, l.scans[next:k]); err != nil {
			return fmt.Errorf("publish scans: %w", err)
		}
		next = k
		l.mu.Lock()
		l.sent = next
		l.mu.Unlock()
	}
	return nil
}

// seen is how many outcomes exist, as far as is known: counted or read.
func (l *load) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.have, l.counted)
}

// count notes how many outcomes the stream holds, and says whether these are all and since when
// there are no more.
func (l *load) count(n int) (all bool, still time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n = min(n, len(l.scans)); n > l.counted {
		l.counted, l.lastSeen = n, time.Now()
	}
	return n == len(l.scans), time.Since(l.lastSeen)
}

// follow takes every outcome as it is stored, until ctx ends.
func (l *load) follow(ctx context.Context, conn *queue.Conn, since time.Time) error {
	err := conn.Outcomes(ctx, queue.OutcomeFilter{Since: since, Follow: true}, func(o queue.StoredOutcome) error {
		l.take(o.EventID, o.Time, resultOf(o.Body))
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (l *load) take(id string, at time.Time, result string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ours := l.index[id]
	if !ours {
		return
	}
	l.lastSeen = time.Now()
	if !l.got[i].IsZero() {
		l.extra++
		return
	}
	l.got[i] = at
	l.have++
	l.results[result]++
	if l.first.IsZero() {
		l.first = at
	}
	l.last = at
}

var resultField = []byte(`"result":"`)

// resultOf finds an outcome's result without reading the rest: the harness shares the
// cores with what it measures.
func resultOf(body []byte) string {
	_, rest, ok := bytes.Cut(body, resultField)
	word, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		return "unreadable"
	}
	return string(word)
}

// progress returns how many scans left and how many have their outcome, and since when
// nothing has come.
func (l *load) progress() (sent, have int, quiet time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, l.have, time.Since(l.lastSeen)
}
