package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"decom/worker/scan"
)

// demoScreen shows how far a demo is: a bar on a terminal, a line every two seconds
// elsewhere.
type demoScreen struct {
	app   *app
	total int
	began time.Time

	mu  sync.Mutex               // guards the terminal
	bar *progressbar.ProgressBar // nil where there is no terminal
}

func newDemoScreen(a *app, total int) *demoScreen {
	s := &demoScreen{app: a, total: total, began: time.Now()}
	if isTerminal(a.stdout) {
		s.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(a.stdout),
			progressbar.OptionSetDescription(a.lang.of(scan.Text{FR: "résultats", EN: "outcomes"})),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(40),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionClearOnFinish(),
		)
	}
	return s
}

// run shows progress until ctx ends.
func (s *demoScreen) run(ctx context.Context, r *robots, c *collector) {
	every := 2 * time.Second
	if s.bar != nil {
		every = 150 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.update(r, c)
		case <-ctx.Done():
			return
		}
	}
}

func (s *demoScreen) update(r *robots, c *collector) {
	published, all := r.progress()
	have, _ := c.progress()
	if s.bar == nil {
		s.sayf("%d de %d scans publiés, %d de %d résultats", "%d of %d scans published, %d of %d outcomes", published, all, have, s.total)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.bar.Set(have) // a terminal that cannot be written is not worth ending for
}

// sayf prints a line with the time since the start, above the bar if there is one.
func (s *demoScreen) sayf(fr, en string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		_ = s.bar.Clear()
	}
	text := fmt.Sprintf(s.app.lang.of(scan.Text{FR: fr, EN: en}), args...)
	fmt.Fprintf(s.app.stdout, "%6.1f s  %s\n", time.Since(s.began).Seconds(), text)
}

// close takes the bar away.
func (s *demoScreen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		_ = s.bar.Clear()
	}
}
