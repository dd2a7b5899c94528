package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Plan is what one run measures, in this order.
type Plan struct {
	Config
	Sweeps  []Sweep // each varies one setting of a backlog
	Ceiling bool    // the bare pipeline too, round by round in turn with the product
	Stages  bool    // each step of the line alone
	Side    bool    // side by side with what a user would write
}

// Run measures. The result is whole even where a verdict is bad; the error says what
// could not be measured. ctx ends it early, with every process it started.
func Run(ctx context.Context, p Plan) (*Result, error) {
	p.Config = p.WithDefaults()
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	began := time.Now()
	r := &Result{Schema: 1, Began: began.UTC().Truncate(time.Second), Commit: commit(), Versions: versions(), Machine: thisMachine(), Config: p.Config}
	if r.Machine.Load1 > float64(r.Machine.Cores)/2 {
		r.Notes = append(r.Notes, "busy")
	}
	for name, exe := range map[string]string{"redis-server": p.RedisServer, "nats-server": p.NATSServer} {
		if exe != "" {
			r.Versions[name] = versionOf(exe)
		}
	}
	err := p.measure(ctx, r)
	r.Took = secondsOf(time.Since(began))
	return r, err
}

// versionOf is what a server says of itself.
func versionOf(exe string) string {
	out, err := exec.Command(exe, "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func (p *Plan) measure(ctx context.Context, r *Result) error {
	if p.Stages {
		list, err := p.Config.stages(ctx)
		r.Stages = list
		if err != nil {
			return fmt.Errorf("stages: %w", err)
		}
	}
	for i := range p.Rounds {
		p.tell(Event{What: "round", Name: p.Profile, Round: i + 1, Of: p.Rounds})
		d, notes, err := p.Config.run(ctx, p.Profile, i+1)
		if i == 0 {
			r.Notes = append(r.Notes, notes...)
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		r.Rounds = append(r.Rounds, d)
		if p.Ceiling {
			p.tell(Event{What: "ceiling", Round: i + 1, Of: p.Rounds})
			if err := p.Config.ceiling(ctx, r, d.Rate, i+1); err != nil {
				return fmt.Errorf("ceiling, round %d: %w", i+1, err)
			}
		}
	}
	for i := range p.Sweeps {
		c := p.Config
		if c.Profile = Backlog; c.Even {
			c.Profile = Steady
		}
		if err := c.runSweep(ctx, &p.Sweeps[i]); err != nil {
			return err
		}
		r.Sweeps = append(r.Sweeps, p.Sweeps[i])
	}
	if p.Side {
		list, err := p.Config.sideBySide(ctx)
		r.Side = list
		if err != nil {
			return fmt.Errorf("side by side: %w", err)
		}
	}
	return nil
}
