package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Why an account halts by itself (protocol.md sections 2.3 and 9).
const (
	whyLost  = "the ledger lost acknowledged records: Redis knows newer ones"
	whyFork  = "ledger and Redis disagree about the same record"
	whyChain = "the ledger's records do not follow each other"
	whyFold  = "a ledger record cannot be understood"
	whySelf  = "NMVS answered with an alert to a pack that we had sent before"
	whyBrake = "too many alerts that may be our own fault"
)

// errHalt ends a synchronisation that must not go on.
type errHalt string

func (e errHalt) Error() string { return string(e) }

// errAgain says that another worker moved on meanwhile.
var errAgain = errors.New("projection moved meanwhile")

const (
	lossTries = 3 // reads of the tail before Redis, still ahead, proves a loss
	lossPause = 5 * time.Second / lossTries
	chunk     = packstate.MaxPacks // different packs projected by one call: opening and result of a bulk share one
	// chunkBytes bounds what is held for one call, however few packs the records name.
	chunkBytes = 4 << 20
)

// synchronise projects what Redis misses of the ledger, feeds the book, and moves
// our belief to the last record. It waits as long as it takes; it ends early only
// when work ends. A contradiction latches the account instead of returning an error.
func (l *loop) synchronise(work context.Context) error {
	l.ours.forget()
	ahead := 0
	err := l.patiently(work, "ledger or Redis", func(ctx context.Context) error {
		for {
			err := l.syncOnce(ctx)
			switch {
			case errors.Is(err, errAgain):
				continue
			case errors.Is(err, errAhead):
				if ahead++; ahead >= lossTries {
					return errHalt(whyLost)
				}
				if !sleep(ctx, lossPause) {
					return ctx.Err()
				}
				continue
			}
			return err
		}
	}, errHalt(whyBrake), errHalt(whyLost), errHalt(whyFork), errHalt(whyChain), errHalt(whyFold), errHalted)
	var h errHalt
	switch {
	case errors.As(err, &h):
		l.halt(work, string(h))
		return nil
	case errors.Is(err, errHalted):
		l.latch(errHalted.Error())
		return nil
	}
	return err
}

// errAhead says that Redis holds a newer head than the ledger's last record.
var errAhead = errors.New("the ledger is behind Redis")

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *loop) syncOnce(ctx context.Context) error {
	redis, has, err := l.deps.State.Head(ctx, l.cfg.Account)
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	if l.book == nil {
		if err := l.startBook(ctx, redis); err != nil {
			return err
		}
	}
	last, any, err := l.deps.Records.Last(ctx)
	if err != nil {
		return fmt.Errorf("last record: %w", err)
	}
	// What this process had acknowledged is a witness too, as good as Redis.
	if known := max(redis.Seq, l.head.Seq); any && known > last.Seq || !any && known > 0 {
		return errAhead
	}
	if !has { // only here, the ledger having been read, may an empty Redis accept a first record [B8f]
		if _, err := l.deps.State.Begin(ctx, l.cfg.Account); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	p := projector{loop: l, redis: redis, at: ledger.Head{}}
	if any {
		if err := p.read(ctx, min(redis.Seq, l.bookAt)+1); err != nil {
			return err
		}
		if p.at.Seq == 0 && last.Seq == redis.Seq && (last.Hash != redis.Hash || l.head.Seq == redis.Seq && l.head != redis) {
			return errHalt(whyFork) // no record was read that could show it
		}
	}
	l.believe(p.redis)
	l.pace(time.Now())
	if p.halt != nil {
		return l.followHalt(ctx, p.halt, p.haltSeq)
	}
	if len(l.alerts) >= l.cfg.AlertLimit {
		return errHalt(whyBrake)
	}
	return nil
}

// startBook begins the book before the oldest attempt that Redis holds open. The
// head was read before: an attempt opened in between lies after it and is read.
func (l *loop) startBook(ctx context.Context, redis ledger.Head) error {
	open, err := l.deps.State.OpenSeqs(ctx, l.cfg.Account)
	if err != nil {
		return fmt.Errorf("open attempts: %w", err)
	}
	if l.controls, err = l.deps.State.Controls(ctx, l.cfg.Account); err != nil {
		return fmt.Errorf("controls: %w", err)
	}
	l.book, l.bookAt = ledger.NewBook(), redis.Seq
	for seq := range open {
		l.bookAt = min(l.bookAt, seq-1)
	}
	return nil
}

func (l *loop) believe(h ledger.Head) {
	l.head = h
	l.Account.head.Store(&h)
}

// projector walks the records of one synchronisation.
type projector struct {
	*loop
	redis   ledger.Head // Redis's head, moved by each projected chunk
	at      ledger.Head // last record read
	recs    []queue.Entry
	parts   []*ledger.Record
	packs   []scan.PackID // that the records name, each once
	known   map[scan.PackID]struct{}
	bytes   int          // of the records
	halt    *ledger.Fact // the last halt or resume among them
	haltSeq uint64
	control bool // a record to be projected says what people set
}

func (p *projector) read(ctx context.Context, from uint64) error {
	_, err := p.deps.Records.Read(ctx, from, func(e queue.Entry) error { return p.take(ctx, e) })
	if err != nil {
		return err
	}
	return p.flush(ctx)
}

// take checks the links to what is known already, feeds the book and collects what
// Redis misses.
func (p *projector) take(ctx context.Context, e queue.Entry) error {
	r, err := ledger.Decode(e.Payload, p.cfg.Account)
	if err != nil {
		p.log.Error("ledger record refused", "seq", e.Seq, "err", err)
		return errHalt(whyFold)
	}
	prev := ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}
	here := ledger.Head{Seq: e.Seq, Hash: e.Hash}
	switch {
	case p.at.Seq != 0 && prev != p.at:
		return errHalt(whyChain)
	case forks(p.redis, prev, here), forks(p.head, prev, here):
		return errHalt(whyFork)
	case p.at.Seq == 0 && e.Seq > p.redis.Seq && prev.Seq > p.redis.Seq: // records are missing in between
		return errHalt(whyChain)
	}
	p.at = here
	if e.Seq > p.bookAt {
		p.tally.add(e.Seq, r, p.book)
		p.book.Add(e.Seq, r)
		p.bookAt = e.Seq
		if r.By != p.cfg.Worker {
			p.othersAt = time.Now()
		}
		p.recallAlerts(e.Seq, r)
	}
	p.controls.Add(e.Seq, r)
	if resumes(r) {
		p.resumedAt = max(p.resumedAt, e.Seq)
	}
	if e.Seq <= p.redis.Seq {
		return nil
	}
	for i := range r.Fact {
		if k := r.Fact[i].Kind; k == ledger.Halt || k == ledger.Resume {
			p.halt, p.haltSeq = &r.Fact[i], e.Seq
		} else if k.SetsControls() {
			p.control = true
		}
	}
	return p.collect(ctx, e, r)
}

// collect adds a record to those that are projected together, and projects them when it does not fit any more.
func (p *projector) collect(ctx context.Context, e queue.Entry, r *ledger.Record) error {
	touched := r.Touched()
	if p.known == nil {
		p.known = make(map[scan.PackID]struct{}, chunk)
	}
	before := len(p.packs)
	for _, k := range touched {
		if _, twice := p.known[k]; !twice {
			p.known[k] = struct{}{}
			p.packs = append(p.packs, k)
		}
	}
	if before > 0 && len(p.packs) > chunk || p.bytes > chunkBytes {
		p.packs = p.packs[:before]
		if err := p.flush(ctx); err != nil {
			return err
		}
		for _, k := range touched {
			p.known[k] = struct{}{}
		}
		p.packs = append(p.packs, touched...)
	}
	p.recs, p.parts, p.bytes = append(p.recs, e), append(p.parts, r), p.bytes+len(e.Payload)
	return nil
}

// forks says that the record here, which follows prev, contradicts a head known before: it
// stands in its place, or goes past it without following it. Our own head counts
// too: an attempt of ours that is not on the chain any more names another one's record.
func forks(known, prev, here ledger.Head) bool {
	switch {
	case known.Seq == 0:
		return false
	case here.Seq == known.Seq:
		return here != known
	}
	return here.Seq > known.Seq && prev.Seq <= known.Seq && prev != known
}

// flush projects the collected records with one view and one apply.
func (p *projector) flush(ctx context.Context) error {
	if len(p.recs) == 0 {
		return nil
	}
	st, states, err := p.deps.State.View(ctx, p.cfg.Account, p.redis, p.packs)
	if err != nil {
		return fmt.Errorf("view: %w", err)
	}
	if err := p.moved(st); err != nil {
		return err
	}
	idx := ledger.NewIndex()
	for i, r := range p.parts {
		part, err := ledger.Fold(p.recs[i].Seq, r, states)
		if err != nil {
			p.log.Error("ledger record refused", "seq", p.recs[i].Seq, "err", err)
			return errHalt(whyFold)
		}
		idx.Merge(part)
	}
	if p.control { // first, so that no head stands beyond what is stored
		if err := p.deps.State.SaveControls(ctx, p.cfg.Account, p.controls); err != nil {
			return err
		}
	}
	idx.Halt = nil // followed once, when all is read
	last := p.recs[len(p.recs)-1]
	next := ledger.Head{Seq: last.Seq, Hash: last.Hash}
	st, err = p.deps.State.Apply(ctx, p.cfg.Account, p.redis, next, states, idx)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if err := p.moved(st); err != nil {
		return err
	}
	clear(p.known)
	clear(p.parts) // the records may be large
	p.redis, p.recs, p.parts, p.packs = next, p.recs[:0], p.parts[:0], p.packs[:0]
	p.bytes = 0
	return p.own(ctx, states)
}

// own claims the projected packs that this account holds: a Redis that lost who holds
// which pack would let another account send one of ours (protocol.md section 6).
func (p *projector) own(ctx context.Context, states ledger.States) error {
	if p.deps.Owners == nil {
		return nil
	}
	var ks []scan.PackID
	for k, s := range states {
		if s.Phase != ledger.Free {
			ks = append(ks, k)
		}
	}
	if len(ks) == 0 {
		return nil
	}
	if _, err := p.deps.Owners.Own(ctx, p.cfg.Account, ks); err != nil {
		return fmt.Errorf("owners: %w", err)
	}
	return nil
}

// moved reads a status during projection: only OK and SAME go on.
func (p *projector) moved(st packstate.Status) error {
	switch st {
	case packstate.OK, packstate.Same:
		return nil
	case packstate.Fork:
		return errHalt(whyFork)
	case packstate.Halted:
		return errHalted
	}
	return errAgain
}

// errHalted says that the account's halt key stands in Redis.
var errHalted = errors.New("account is halted")
