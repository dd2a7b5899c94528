package main

import "context"

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
