package main

import (
	"sync"
	"time"

	"decom/worker"
	"decom/worker/scan"
)

// liveAccount is what an account's loop tells while it runs. Its methods are hooks: any
// of the loop's goroutines may call them.
type liveAccount struct {
	mu      sync.Mutex // guards the rest
	results map[scan.Result]uint64
	load    worker.Load
	held    int
	heldAt  time.Time
	halted  bool
	why     string
	trouble string
	lastBad time.Time
}

func (l *liveAccount) scanned(result scan.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.results == nil {
		l.results = map[scan.Result]uint64{}
	}
	l.results[result]++
}

func (l *liveAccount) opened(load worker.Load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load = load
}

func (l *liveAccount) holding(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.heldAt = n, time.Now()
}

func (l *liveAccount) halting(halted bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted, l.why = halted, why
}

func (l *liveAccount) troubled(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble, l.lastBad = what+": "+err.Error(), time.Now()
}

// troubleFresh is how long a trouble is shown after it was last met.
const troubleFresh = 15 * time.Second
