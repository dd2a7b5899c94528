package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// collector reads DECOM_OUTCOMES as they come.
type collector struct {
	robots *robots
	want   map[string]*demoScan

	mu    sync.Mutex
	by    map[string]*scan.Outcome // first outcome of each event
	extra []scan.Outcome           // second ones, and those of events that nobody published
	left  int
	last  time.Time // when the newest outcome was stored
	took  []time.Duration
	all   chan struct{} // closed when every event has its outcome
}

func newCollector(r *robots, want map[string]*demoScan) *collector {
	c := &collector{robots: r, want: want, by: map[string]*scan.Outcome{}, left: len(want), last: time.Now(), all: make(chan struct{})}
	if c.left == 0 {
		close(c.all)
	}
	return c
}

// run follows the stream until ctx ends.
func (c *collector) run(ctx context.Context, conn *queue.Conn) error {
	err := conn.Outcomes(ctx, queue.OutcomeFilter{Follow: true}, c.add)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("the stream of outcomes ended")
	}
	return err
}

func (c *collector) add(s queue.StoredOutcome) error {
	var o scan.Outcome
	if err := json.Unmarshal(s.Body, &o); err != nil {
		return fmt.Errorf("an outcome cannot be read: %w", err)
	}
	took, known := c.robots.outcome(o.EventID, s.Time)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = s.Time
	if c.want[o.EventID] == nil || c.by[o.EventID] != nil {
		c.extra = append(c.extra, o)
		return nil
	}
	c.by[o.EventID] = &o
	if known {
		c.took = append(c.took, took)
	}
	if c.left--; c.left == 0 {
		close(c.all)
	}
	return nil
}

// progress is how many outcomes are there, and when the newest came.
func (c *collector) progress() (have int, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.by), c.last
}

// quantile of the time from publish to outcome.
func (c *collector) quantile(q float64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
