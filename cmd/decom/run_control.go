package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watchControl has an account's loop look at its ledger as soon as a tool says that a person
// wrote there. Without these messages it looks by itself, some seconds later.
func (p *process) watchControl(ctx context.Context) {
	err := p.conn.WatchControl(ctx, func(account string) {
		for _, u := range p.units {
			if u.cfg.Name == account {
				u.loop.Hurry()
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		p.log.Warn("messages of operators' tools are not received: a pause counts some seconds later", "err", err)
		<-ctx.Done()
	}
}

// setLimits takes over an account's mode and limits from a configuration that was read again.
func (p *process) setLimits(acc *Account) error {
	live, err := acc.live()
	if err != nil {
		return err
	}
	for _, u := range p.units {
		if u.cfg.Name == acc.Name {
			return errors.Join(u.limiter.Adapt(acc.Limits.Adaptive, acc.Limits.TooFastStop), u.loop.SetLive(live))
		}
	}
	return nil
}

// reloaded tells the end of a reload to metrics and the service manager.
func (p *process) reloaded(err error, at time.Time) {
	status := fmt.Sprintf("%d account(s)", len(p.units))
	if err != nil {
		p.met.reloadFailed.Set(1)
		status += ", the changed configuration is wrong and not in use"
	} else {
		p.met.reloadFailed.Set(0)
		p.met.reloadedAt.Set(float64(at.Unix()))
	}
	p.tell.ready(status)
}

// leftPatience bounds the look at what a drain leaves behind.
const leftPatience = 2 * time.Second

// tellLeft logs what a drain leaves to the next start, or to another process: nothing of it is
// lost, but somebody may want to know.
func (p *process) tellLeft(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leftPatience)
	defer cancel()
	for i := range p.cfg.Accounts {
		s := accountOfStores(ctx, &p.cfg.Accounts[i], p.conn, p.store, p.conn.Up())
		p.units[i].live.mu.Lock()
		submitted := p.units[i].live.load.Submitted
		p.units[i].live.mu.Unlock()
		if s.Stores != "" {
			p.log.Warn("what the drain leaves behind is not known", "account", s.Account, "err", s.Stores)
			continue
		}
		if s.Pending+s.Unacked+s.Outcomes > 0 || s.Open+s.Due > 0 {
			p.log.Info("the drain leaves behind, for the next start or another process", "account", s.Account,
				"scans_waiting", s.Pending, "scans_held", s.Unacked, "packs_open", s.Open, "packs_of_bulks_without_result", submitted,
				"packs_due", s.Due, "outcomes_not_published", s.Outcomes)
		}
	}
}
