package bench

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"sync"
	"text/template"
	"time"
)

// engineName is a stream engine with the configuration that a user would write; its program is built from the module
// bench/engine.
const engineName = "engine"

//go:embed engine.yaml.tmpl
var engineConfig string

// startEngine lets the engine begin, or begin again.
func (r *rig) startEngine() (*child, error) {
	t, err := template.New(engineName).Parse(engineConfig)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(r.dir, "engine.yaml")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := t.Execute(f, r.bare()); err != nil {
		return nil, err
	}
	return r.foreign(engineName, r.cfg.Engine, "run", name)
}

// engineFast is the undisturbed part: a backlog that lies in the stream.
func (r *rig) engineFast(ctx context.Context, l *load, s *Side) error {
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { _ = l.follow(ctx, r.conn, time.Now().Add(-time.Second)) }) // an end too early shows as lost scans
	before := cpuOf(r.pids)
	w, err := r.startEngine()
	if err != nil {
		return err
	}
	defer w.stop(5 * time.Second)
	l.restart(time.Now())
	for {
		_, have, quiet := l.progress()
		if have == len(l.scans) || quiet > r.cfg.Patience || w.ended() {
			break
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if span := l.last.Sub(l.first); span > 0 {
		s.Rate = float64(l.have-1) / span.Seconds()
	}
	for name, used := range cpuOf(r.pids) {
		s.CPU += (used - before[name]).Seconds() * 100_000 / float64(max(1, l.have))
	}
	return nil
}
