package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"decom/worker/ledger"
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
)

// synchronise projects what Redis misses of the ledger, feeds the book, and moves
// our belief to the last record. It waits as long as it takes; it ends early only
// when work ends. A contradiction latches the account instead of returning an error.
func (l *loop) synchronise(work context.Context) error {
	l.ours.forget()
	ahead := 0
	err := l.patiently(work, "ledger or Redis", func(ctx context.Context) error {
		for {
			err := l.syncTry(work)
			switch {
			case errors.Is(err, errAgain) && ctx.Err() == nil:
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

// syncTry is one try. It has as much time as it needs while one record after another is taken: a
// ledger may be long. It ends when nothing comes, or Redis takes nothing, for as long as one call may take.
func (l *loop) syncTry(work context.Context) error {
	ctx, stop := context.WithCancelCause(work)
	defer stop(nil)
	limit := time.AfterFunc(storeTimeout, func() { stop(context.DeadlineExceeded) })
	defer limit.Stop()
	return l.syncOnce(ctx, func() {
		limit.Reset(storeTimeout)
		l.pulse.beat()
	})
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

// syncOnce calls alive for each record that it takes.
func (l *loop) syncOnce(ctx context.Context, alive func()) error {
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
	p := newProjector(l, redis, last.Seq, alive)
	if any {
		if err := p.read(ctx, min(redis.Seq, l.bookAt)+1); err != nil {
			return err
		}
		if p.at.Seq == 0 && last.Seq == redis.Seq && (last.Hash != redis.Hash || l.head.Seq == redis.Seq && l.head != redis) {
			return errHalt(whyFork) // no record was read that could show it
		}
	}
	l.believe(p.shown)
	l.pace(time.Now())
	if f := l.haltRead; f != nil {
		l.haltRead = nil
		return l.followHalt(ctx, f, l.haltReadAt)
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
	l.moves.tell()
}

// errHalted says that the account's halt key stands in Redis.
var errHalted = errors.New("account is halted")
