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
	names, args := make([]string, 0, len(ks)), make([]string, len(ks))
	names = k.addBuckets(names, ks)
	for i, id := range ks {
		args[i] = string(id[bucketLen:])
	}
	out, err := s.run(ctx, s.scripts.peek, names, args).Text()
	if err != nil {
		return nil, fmt.Errorf("peek %s: %w", acc, wrap(err))
	}
	states, err := decodeAll(ks, out)
	if err != nil {
		return nil, fmt.Errorf("peek %s: %w", acc, err)
	}
	return states, nil
}
