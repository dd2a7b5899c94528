package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"decom/worker/ledger"
)

// The tools that sign what people withhold and free.
const (
	BatchTool  = "decom batch"
	DeviceTool = "decom device"
)

// What people's tools branch on.
var (
	// ErrNotWithheld: nothing was written.
	ErrNotWithheld = errors.New("it is not withheld")
	// ErrWithheldFull: the account withholds as many already as it may. Nothing was written.
	ErrWithheldFull = fmt.Errorf("%d of this kind are withheld already", ledger.MaxWithheld)
)

// SetWithheld has an account open nothing new of one batch or device, until then; the zero time
// is until a person frees it. It replaces an earlier one of that scope and returns its record. Errors as those of
// [AppendFact], and [ErrWithheldFull].
func SetWithheld(ctx context.Context, records Records, store ControlStore, account string, s ledger.Scope, until time.Time, p Person) (uint64, error) {
	if _, err := ledger.ParseScope(s.String()); err != nil {
		return 0, err
	}
	c := &ledger.Control{Scope: s.String()}
	if !until.IsZero() {
		c.Until = until.UnixMilli()
		if !until.After(time.Now()) {
			return 0, errors.New("it would be over before it begins")
		}
	}
	return appendWithheld(ctx, records, store, account, s, p, func(seen []ledger.Withheld, standing bool) (ledger.Fact, error) {
		n := 0
		for _, w := range seen {
			if w.Scope.Kind() == s.Kind() {
				n++
			}
		}
		if n >= ledger.MaxWithheld && !standing {
			return ledger.Fact{}, ErrWithheldFull
		}
		return ledger.Fact{Kind: ledger.Withhold, Who: p.Who, Why: p.Why, Control: c}, nil
	})
}

// FreeWithheld ends a withhold, whoever wrote it, and returns its record. [ErrNotWithheld] when
// there is none, or it has ended by itself.
func FreeWithheld(ctx context.Context, records Records, store ControlStore, account string, s ledger.Scope, p Person) (uint64, error) {
	return appendWithheld(ctx, records, store, account, s, p, func(_ []ledger.Withheld, standing bool) (ledger.Fact, error) {
		if !standing {
			return ledger.Fact{}, ErrNotWithheld
		}
		return ledger.Fact{Kind: ledger.LetGo, Who: p.Who, Why: p.Why, Control: &ledger.Control{Scope: s.String()}}, nil
	})
}

func appendWithheld(ctx context.Context, records Records, store ControlStore, account string, s ledger.Scope, p Person,
	decide func(seen []ledger.Withheld, standing bool) (ledger.Fact, error),
) (uint64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	tool := BatchTool
	if s.Device != "" {
		tool = DeviceTool
	}
	return AppendFact(ctx, records, account, tool, func(ctx context.Context, _ ledger.Head) (ledger.Fact, error) {
		c, err := ControlsOf(ctx, records, store, account)
		if err != nil {
			return ledger.Fact{}, err
		}
		now := time.Now()
		return decide(c.Withholds(now), c.Withholding(s, now))
	})
}
