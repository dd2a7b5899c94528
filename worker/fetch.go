package worker

import (
	"context"
	"errors"
	"time"

	"decom/nmvs"
	"decom/queue"
)

// ask is the loop's order for scans: as many as single calls have slots and tokens for,
// and as many as a bulk takes whose slot and token are in hand.
type ask struct {
	singles int
	tokens  int // of the single service, in hand already
	packs   int
	keep    int // tokens and slots that stay with the loop, for due packs and verifies

	onlyPacks bool // single tokens are for verifies alone

	ahead int // of nothing else: scans that wait for a slot and a token with the loop
}

// batch is the answer to an ask. Tokens are in hand, used or not.
type batch struct {
	deliveries []queue.Delivery
	tokens     int
	packs      int // as in the ask
	ahead      bool
}

// idleFetch is how long one pull stays open without a scan. It bounds how long the slots
// that it keeps are missed by other work.
const idleFetch = time.Second

// staleTokens is how long tokens in hand may wait for a scan before they go back.
const staleTokens = 50 * time.Millisecond

// fetchLoop takes tokens first and scans second, so that no opened pack ever waits
// for either (protocol.md section 3 S0). It answers every ask exactly once until asks
// is closed.
func (a *Account) fetchLoop(ctx context.Context, asks <-chan ask, out chan<- batch) {
	for q := range asks {
		out <- a.fetch(ctx, q)
	}
}

func (a *Account) fetch(ctx context.Context, q ask) batch {
	b := batch{tokens: q.tokens, packs: q.packs, ahead: q.ahead > 0}
	pull, cancel := context.WithTimeout(ctx, idleFetch)
	defer cancel()
	if b.ahead {
		a.fetchAhead(pull, q, &b)
		return b
	}
	single := nmvs.Single.String()
	if b.tokens == 0 && q.packs == 0 {
		if err := a.deps.Limiter.Take(pull, single, 1); err != nil {
			<-pull.Done() // too late: the token comes in a later round
			return b
		}
		b.tokens = 1
	}
	if want := q.singles + q.keep; b.tokens < want {
		b.tokens += a.deps.Limiter.TryTake(single, want-b.tokens)
	}
	n := q.packs
	if !q.onlyPacks {
		n += min(max(b.tokens-q.keep, 0), q.singles)
	}
	if n == 0 {
		if q.tokens > 0 { // nothing was waited for
			sleep(pull, tokenPause)
		}
		return b
	}
	began := time.Now()
	rank := min(a.deps.Rank(), 9)
	ds, err := a.deps.Scans.Fetch(pull, n, a.cfg.Linger, rank)
	for q.packs > 0 && err == nil && len(ds) < n && ds[len(ds)-1].Backlog() > 0 {
		var more []queue.Delivery // a slow server: a bulk that leaves half empty is half lost
		more, err = a.deps.Scans.Fetch(pull, n-len(ds), a.cfg.Linger, rank)
		ds = append(ds, more...)
	}
	b.deliveries = ds
	if b.tokens > 0 && time.Since(began) > staleTokens {
		// Tokens that waited here did not fill the bucket meanwhile: used beside what
		// gathered in it they would be a burst that NMVS counts.
		held := b.tokens
		a.deps.Limiter.Return(single, held)
		b.tokens = a.deps.Limiter.TryTake(single, held)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		a.trouble("scans", err)
		<-pull.Done()
	}
	return b
}
