package queuetest

import (
	"context"
	"time"
)

// Since is queue.Ledger's.
func (l *Ledger) Since(ctx context.Context, t time.Time) (uint64, bool, error) {
	if err := l.reads(ctx); err != nil {
		return 0, false, err
	}
	for _, e := range l.c.b.Records(l.name) {
		if !e.Time.Before(t) {
			return e.Seq, true, nil
		}
	}
	return 0, false, nil
}
