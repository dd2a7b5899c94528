package worker

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// openings remembers a few opening records: what a due pack or an undo needs of its
// past stands there and nowhere else.
type openings struct{ recs *shelf }

func newOpenings() *openings { return &openings{recs: newShelf(openingPacks)} }

// record returns the record at seq, from the ledger's leader if it is not known.
func (l *loop) record(work context.Context, seq uint64) (*ledger.Record, error) {
	if r := l.opened.recs.get(seq).rec; r != nil {
		return r, nil
	}
	var e queue.Entry
	err := l.patiently(work, "ledger", func(ctx context.Context) (err error) {
		e, err = l.deps.Records.Get(ctx, seq)
		return err
	}, queue.ErrNotFound)
	if err != nil {
		return nil, fmt.Errorf("opening record %d: %w", seq, err)
	}
	r, err := ledger.Decode(e.Payload, l.cfg.Account)
	if err != nil {
		return nil, fmt.Errorf("opening record %d: %w", seq, err)
	}
	l.opened.recs.put(e.Head(), r)
	return r, nil
}

// find returns the attempt of the record that opened pack k, and k's place in it.
func find(r *ledger.Record, k scan.PackID) (*ledger.Open, int, bool) {
	for i := range r.Open {
		for j := range r.Open[i].Packs {
			if p, err := r.Open[i].Pack(j); err == nil && p.ID() == k {
				return &r.Open[i], j, true
			}
		}
	}
	return nil, 0, false
}

// trxOf returns the ClientTrxId of the change that the record at seq opened for pack k.
func (l *loop) trxOf(work context.Context, seq uint64, k scan.PackID) (string, error) {
	r, err := l.record(work, seq)
	if err != nil {
		return "", err
	}
	o, i, ok := find(r, k)
	if !ok {
		return "", fmt.Errorf("record %d did not open pack %s", seq, k)
	}
	return o.Trx(i), nil
}

// duePack is a pack that was accepted and is to be sent again.
type duePack struct {
	k    scan.PackID
	c    string // its last attempt
	of   uint64
	i    int
	pack scan.Pack
	open ledger.OpenPack
}

// takeDue finds the packs whose time has come, as many as could be opened now, and
// what their last attempt says of them.
func (l *loop) takeDue(work context.Context) ([]duePack, error) {
	now := time.Now()
	if l.paused || l.draining.Load() || l.latched.Load() || now.Before(l.nextDue) {
		return nil, nil
	}
	l.nextDue = now.Add(duePoll * time.Duration(1+8*l.deps.Rank()))
	most := max(l.capacity(0).total(), l.lanes.size.next()) - len(l.items) + l.withheld.dueSeen(now)
	var ks []scan.PackID
	err := l.patiently(work, "Redis", func(ctx context.Context) (err error) {
		ks, err = l.deps.State.Due(ctx, l.cfg.Account, now.UnixMilli(), max(most, 1))
		if ks = l.withheld.others(ks); err == nil && len(ks) == 0 && !now.Before(l.nextFar) {
			ks, err = l.farDue(ctx, now, max(most, 1))
		}
		return err
	})
	if err != nil || len(ks) == 0 {
		return nil, err
	}
	ks = ks[:max(0, min(len(ks), l.capacity(len(l.items)+len(ks)).total()-len(l.items)))]
	if len(ks) == 0 {
		l.hungry = true
		return nil, nil
	}
	if want := min(l.places(), len(ks)+len(l.items)); l.lanes.tokens < want {
		l.lanes.tokens += l.deps.Limiter.TryTake(nmvs.Single.String(), want-l.lanes.tokens)
	}
	l.hungry = l.hungry || l.onlyBulk() && l.lanes.bulk == 0 // only what must go single can go now
	if l.lanes.tokens <= len(l.items) && l.lanes.bulk == 0 {
		l.hungry = true
		return nil, nil
	}
	states, err := l.view(work, ks)
	if err != nil || l.latched.Load() {
		return nil, err
	}
	due := make([]duePack, 0, len(ks))
	for _, k := range ks {
		u, ok, err := l.duePack(work, k, states[k])
		if err != nil {
			return nil, err
		}
		if ok {
			due = append(due, u)
		}
	}
	return due, nil
}

// farDue finds packs whose time, written by a worker whose clock was ahead, is still to come: none
// rests longer than [restAfterRefusal], so one that still waits for its time at two looks,
// farPoll apart by the monotonic clock, has rested enough. Clocks delay nothing for hours.
func (l *loop) farDue(ctx context.Context, now time.Time, most int) ([]scan.PackID, error) {
	ks, err := l.deps.State.Due(ctx, l.cfg.Account, math.MaxInt64, most)
	if err != nil {
		return nil, err
	}
	ks = l.withheld.others(ks)
	ready := slices.DeleteFunc(slices.Clone(ks), func(k scan.PackID) bool { return !slices.Contains(l.far, k) })
	l.far = ks
	if len(ready) == 0 { // else they are looked for until they found slot and token
		l.nextFar = now.Add(farPoll)
	}
	return ready, nil
}

// farPoll is several rests.
const farPoll = 5 * restAfterRefusal

// duePoll is how often due packs are looked for; an attempt that is put back is
// looked at no later than this after its rest.
const duePoll = 500 * time.Millisecond

func (l *loop) duePack(work context.Context, k scan.PackID, s ledger.State) (duePack, bool, error) {
	if s.Phase != ledger.Due {
		return duePack{}, false, nil
	}
	r, err := l.record(work, s.Opening)
	if err != nil {
		return duePack{}, false, err
	}
	o, i, ok := find(r, k)
	if !ok {
		return duePack{}, false, fmt.Errorf("record %d did not open pack %s", s.Opening, k)
	}
	p, err := o.Pack(i)
	if err != nil {
		return duePack{}, false, err
	}
	return duePack{k: k, c: o.C, of: s.Opening, i: i, pack: p, open: o.Packs[i]}, true, nil
}
