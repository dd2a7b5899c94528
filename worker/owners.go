package worker

import (
	"context"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// draftOwners is rule 9 (protocol.md section 6): a pack that another account holds is
// refused; one that it let go is taken over.
func (l *loop) draftOwners(work context.Context, d *draft, opens []opening) ([]opening, error) {
	if l.deps.Owners == nil || len(opens) == 0 {
		return opens, nil
	}
	ks := make([]scan.PackID, len(opens))
	for i := range opens {
		ks[i] = opens[i].p.ID()
	}
	var owners map[scan.PackID]string
	err := l.patiently(work, "Redis", func(ctx context.Context) (err error) {
		owners, err = l.deps.Owners.Own(ctx, l.cfg.Account, ks)
		return err
	})
	if err != nil {
		return nil, err
	}
	mine := opens[:0]
	for _, o := range opens {
		held := false
		if other := owners[o.p.ID()]; other != l.cfg.Account && other != "" {
			if held, err = l.heldBy(work, other, o.p.ID()); err != nil {
				return nil, err
			}
		}
		switch {
		case !held:
			mine = append(mine, o)
		case o.it != nil:
			d.answer(o.it, l.note(o.it, ledger.Answer{Result: scan.Refused, Reason: scan.OtherAccount}))
		default:
			d.withdraw(o.due, *probeRefused(ledger.State{Probe: o.probe}, &ledger.Answer{Result: scan.Refused, Reason: scan.OtherAccount}))
		}
	}
	return mine, nil
}

// heldBy says whether the other account still has the pack; if it let go, the pack is
// taken over.
func (l *loop) heldBy(work context.Context, other string, k scan.PackID) (held bool, err error) {
	err = l.patiently(work, "Redis", func(ctx context.Context) error {
		states, err := l.deps.Owners.Peek(ctx, other, []scan.PackID{k})
		if err != nil {
			return err
		}
		if states[k].Phase != ledger.Free {
			held = true
			return nil
		}
		taken, err := l.deps.Owners.Take(ctx, k, other, l.cfg.Account)
		held = taken != l.cfg.Account
		return err
	})
	return held, err
}
