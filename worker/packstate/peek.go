package packstate

import (
	"context"
	"fmt"

	"decom/worker/ledger"
	"decom/worker/scan"

	"github.com/redis/go-redis/v9"
)

// Peek reads packs of an account whatever its head is. It is advice for other
// accounts and for people (protocol.md section 6), never a permission to send.
func (s *Store) Peek(ctx context.Context, acc string, ks []scan.PackID) (ledger.States, error) {
	k, err := account(acc)
	if err != nil {
		return nil, fmt.Errorf("peek: %w", err)
	}
	cmds := make([]*redis.StringCmd, len(ks))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ks {
			if len(id) != packLen {
				return fmt.Errorf("%q is no pack's name", id)
			}
			bucket, field := k.place(id)
			cmds[i] = p.HGet(ctx, bucket, field)
		}
		return nil
	})
	if err != nil && err != redis.Nil {
		return nil, fmt.Errorf("peek %s: %w", acc, wrap(err))
	}
	states := make(ledger.States, len(ks))
	for i, c := range cmds {
		v, err := c.Result()
		if err == redis.Nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("peek %s: %w", acc, wrap(err))
		}
		if states[ks[i]], err = decode(v); err != nil {
			return nil, fmt.Errorf("pack %s: %w", ks[i], err)
		}
	}
	return states, nil
}
