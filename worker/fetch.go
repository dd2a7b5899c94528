package worker

import (
	"context"
	"errors"
	"time"

	"decom/queue"
)

// ask is the loop's order for scans: at most slots of them, each covered by a token.
type ask struct {
	service string // whose tokens
	slots   int
	tokens  int // in hand already
}

// batch is the answer to an ask. Tokens are in hand, used or not.
type batch struct {
	deliveries []queue.Delivery
	tokens     int
}

// idleFetch is how long one pull stays open without a scan. It bounds how long the slots
// that it keeps are missed by other work.
const idleFetch = time.Second

// fetchLoop takes tokens first and scans second, so that no opened pack ever waits
// for either (protocol.md section 3 S0). It answers every ask exactly once until asks
// is closed.
func (a *Account) fetchLoop(ctx context.Context, asks <-chan ask, out chan<- batch) {
	for q := range asks {
		out <- a.fetch(ctx, q)
	}
}

func (a *Account) fetch(ctx context.Context, q ask) batch {
	b := batch{tokens: q.tokens}
	pull, cancel := context.WithTimeout(ctx, idleFetch)
	defer cancel()
	if b.tokens == 0 {
		if err := a.deps.Limiter.Take(pull, q.service, 1); err != nil {
			<-pull.Done() // too late: the token comes in a later round
			return b
		}
		b.tokens = 1
	}
	if b.tokens < q.slots {
		b.tokens += a.deps.Limiter.TryTake(q.service, q.slots-b.tokens)
	}
	ds, err := a.deps.Scans.Fetch(pull, min(b.tokens, q.slots), a.cfg.Linger, min(a.deps.Rank(), 9))
	b.deliveries = ds
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		a.trouble("scans", err)
		<-pull.Done()
	}
	return b
}
