package queue

import (
	"context"
	"errors"
	"time"
)

// Since returns the sequence of the account's first record stored at t or later; false
// when there is none.
func (l *Ledger) Since(ctx context.Context, t time.Time) (seq uint64, found bool, err error) {
	m, err := l.c.get(ctx, StreamLedger, getRequest{Start: &t, NextFor: l.subject})
	if errors.Is(err, ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fail("read", l.subject, err)
	}
	return m.Seq, true, nil
}
