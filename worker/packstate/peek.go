package packstate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// Peek reads packs of an account whatever its head is, halted or not; a pack
// never heard of is not among the answer. It is advice for other accounts and
// for people (protocol.md section 6), never a permission to send. One script, not
// a pipeline: the embedded store's connections have no buffer, so a long
// pipeline would wait for its own first answer for ever.
func (s *Store) Peek(ctx context.Context, acc string, ks []scan.PackID) (ledger.States, error) {
	k, err := account(acc)
	if err = errors.Join(err, checkPacks(len(ks), slices.Values(ks))); err != nil {
		return nil, fmt.Errorf("peek %s: %w", acc, err)
	}
	if len(ks) == 0 {
		return ledger.States{}, nil
	}
	names, args := make([]string, len(ks)), make([]any, len(ks))
	for i, id := range ks {
		names[i], args[i] = k.place(id)
	}
	out, err := s.scripts.peek.Run(ctx, s.rdb, names, args...).Slice()
	if err != nil {
		return nil, fmt.Errorf("peek %s: %w", acc, wrap(err))
	}
	states, err := decodeAll(ks, out)
	if err != nil {
		return nil, fmt.Errorf("peek %s: %w", acc, err)
	}
	return states, nil
}

// decodeAll reads a script's values, one or nil for each pack.
func decodeAll(ks []scan.PackID, out []any) (ledger.States, error) {
	if len(out) != len(ks) {
		return nil, fmt.Errorf("%d values for %d packs", len(out), len(ks))
	}
	states := make(ledger.States, len(ks))
	for i, v := range out {
		if v == nil {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("pack %s: %w: a %T", ks[i], ErrValue, v)
		}
		state, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", ks[i], err)
		}
		states[ks[i]] = state
	}
	return states, nil
}
